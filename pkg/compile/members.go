package compile

import (
	"fmt"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// assignMembers puts every injected pod into the group of the node that selects it now. With several nodes the one it was
// injected as counts if it is among them, else the oldest; with none the pod keeps what it was injected as.
//
// What a pod was injected as stands in an annotation, which whoever may write the pod may change. So it only ever chooses among
// workloads of the pod's own namespace: a pod of another one has no group, and gets no configuration and no key.
func (b *builder) assignMembers() {
	byID := make(map[string]*mesh.Workload, len(b.workloads))
	for _, w := range b.workloads {
		byID[w.ID.String()] = w
	}
	if b.in.Settings.Offline {
		b.members = make(map[string]string, len(byID))
		for id, w := range byID {
			// Proxies outside a cluster bring their own bootstrap, with a provider of secrets or without.
			b.groups[id] = &mesh.Group{ID: id, Workload: w, Profile: mesh.Profile{IPv4: true, SDS: true}}
			b.members[id] = id
		}
		return
	}
	b.gatewayIndex = b.indexGateways()
	known := &b.compiler.selection
	b.proxies = make([]mesh.Proxy, 0, len(known.pods))
	for i, p := range known.pods {
		selecting := known.nodesOf[i]
		if p.Node == "" {
			b.findOutside(p, selecting)
			continue
		}
		w := byID[b.workloadOf(p, selecting)]
		if w == nil || w.Object.Namespace != p.Namespace {
			continue
		}
		b.findRefused(p, w)
		b.proxies = append(b.proxies, mesh.Proxy{
			ID: p.UID, Namespace: p.Namespace, Name: p.Name, Group: b.group(w, profileOf(p)), Counted: p.Running && !p.Terminating,
		})
	}
	b.shareMembers()
	b.reportContested()
}

// shareMembers makes the map of the members, or takes that of the last pass when the proxies are the same.
func (b *builder) shareMembers() {
	last := &b.compiler.members
	if last.of == nil || !slices.Equal(last.proxies, b.proxies) {
		last.of = make(map[string]string, len(b.proxies))
		for i := range b.proxies {
			last.of[b.proxies[i].ID] = b.proxies[i].Group
		}
		last.proxies = b.proxies
	}
	b.proxies, b.members = last.proxies, last.of
}

// workloadOf returns the id of the workload that pod p belongs to.
func (b *builder) workloadOf(p *input.Pod, selecting []int) string {
	if strings.Contains(p.Node, "/virtualGateway/") {
		return b.gatewayOf(p)
	}
	if len(selecting) == 0 {
		return p.Node
	}
	for _, n := range selecting {
		if b.nodeOrder[n].id() == p.Node {
			return p.Node
		}
	}
	oldest := b.nodeOrder[selecting[0]]
	if len(selecting) > 1 {
		b.contested[oldest] = append(b.contested[oldest], contest{p, selecting})
	}
	return oldest.id()
}

// id is the node id of the proxies of n.
func (n *node) id() string {
	if n.nodeID == "" {
		n.nodeID = mesh.WorkloadID{Mesh: n.mesh.name, Name: n.name}.String()
	}
	return n.nodeID
}

// contest is a pod that several nodes select.
type contest struct {
	pod   *input.Pod
	nodes []int
}

// reportContested tells the node that pods run as, because it is the oldest, who else selects them.
func (b *builder) reportContested() {
	for n, list := range b.contested {
		slices.SortFunc(list, func(x, y contest) int { return comparePods(x.pod, y.pod) })
		var pods, ids []string
		for _, c := range list {
			pods = append(pods, c.pod.Namespace+"/"+c.pod.Name)
		}
		for _, other := range list[0].nodes {
			ids = append(ids, b.nodeOrder[other].id())
		}
		b.problem(mesh.Problem{Object: n.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: "spec.podSelector",
			Message: fmt.Sprintf("pod %s is selected by %d nodes (%s); it runs as the oldest, %s; narrow the selectors", some(pods), len(ids), some(ids), n.self)})
	}
}

// profileOf normalises what the injector recorded. A pod whose families are not known has those of its addresses.
func profileOf(p *input.Pod) mesh.Profile {
	out := mesh.Profile{
		IPv4: strings.Contains(p.Profile.IPFamilies, "4"), IPv6: strings.Contains(p.Profile.IPFamilies, "6"),
		SDS: p.Profile.SDS, MetricExtension: p.Profile.MetricExtension, Draining: p.Terminating,
	}
	if !out.IPv4 && !out.IPv6 {
		for _, ip := range p.IPs {
			if strings.Contains(ip, ":") {
				out.IPv6 = true
			} else {
				out.IPv4 = true
			}
		}
	}
	if !out.IPv6 {
		out.IPv4 = true
	}
	return out
}

// member is what the group of a proxy depends on.
type member struct {
	workload *mesh.Workload
	profile  mesh.Profile
}

// group returns the id of the group of a workload and a profile, creating it at first use.
func (b *builder) group(w *mesh.Workload, p mesh.Profile) string {
	id, known := b.groupIDs[member{w, p}]
	if !known {
		id = groupID(w, p)
		b.groupIDs[member{w, p}] = id
		b.groups[id] = &mesh.Group{ID: id, Workload: w, Profile: p}
		if !p.Draining {
			b.profileLacks(w, p)
		}
	}
	return id
}

// groupID names a group. The id of the usual profile is the workload's own.
func groupID(w *mesh.Workload, p mesh.Profile) string {
	// A question mark of a name is written otherwise: "a?sds" may be the name of a node.
	id := w.ID.String()
	if strings.ContainsAny(id, "?%") {
		id = strings.NewReplacer("%", "%25", "?", "%3F").Replace(id)
	}
	var extra []string
	if p.IPv6 {
		extra = append(extra, map[bool]string{true: "dual", false: "ipv6"}[p.IPv4])
	}
	if p.SDS {
		extra = append(extra, "sds")
	}
	if p.MetricExtension {
		extra = append(extra, "metrics")
	}
	if p.Draining {
		extra = append(extra, "draining")
	}
	if len(extra) > 0 {
		id += "?" + strings.Join(extra, "&")
	}
	return id
}

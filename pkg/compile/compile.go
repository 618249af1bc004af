package compile

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// Compiler runs passes and remembers what validate said of each object, which depends on nothing else: an object is never
// modified, so its pointer stands for its content. The Settings of all passes must be the same. A fresh Compiler decides the same.
// Calls must not overlap.
type Compiler struct {
	judged memo[meshv1beta2.Object, []mesh.Problem]
	// selectors and labels are what selecting pods takes most of its time for.
	selectors memo[*metav1.LabelSelector, labels.Selector]
	labels    memo[*input.Pod, string]
	selection selection
	// What listeners are made of, as far as no pod and no other object matters.
	applications memo[application, *inbound]
	inspectors   memo[mesh.WorkloadID, *mesh.Destination]
	httpNames    memo[httpPort, *httpNames]
	entrances    memo[mesh.Hash, *mesh.Routes]
	// secondHops are those of the last pass.
	secondHops memo[mesh.WorkloadID, *secondHop]
	// endpoints and destinations are those of the last pass, with what they are made from.
	endpoints    memo[listenerKey, *podEndpoints]
	destinations memo[listenerKey, *sealed]
	// named is what claim reads from each object; aged are the objects by age.
	named memo[meshv1beta2.Object, *named]
	aged  agedObjects
	// members are those of the last pass.
	members struct {
		proxies []mesh.Proxy
		of      map[string]string
	}
}

// Compile decides what every proxy does. It never fails: what a user got wrong is in the Problems.
func (c *Compiler) Compile(in *input.Objects) *input.Result {
	r := c.pass(in)
	if len(in.Accepted) > 0 {
		r = c.keepAccepted(in, r)
	}
	r.Problems = handful(r.Problems)
	return r
}

// maxProblems is how many problems of one severity and reason an object has; the others are counted.
const maxProblems = 10

// handful keeps the first problems of each object, severity and reason, and counts the others. Problems are sorted by object.
func handful(list []mesh.Problem) []mesh.Problem {
	type kind struct {
		severity mesh.Severity
		reason   string
	}
	out := list[:0:0]
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Object == list[0].Object {
			n++
		}
		of := list[:n]
		list = list[n:]
		if n <= maxProblems {
			out = append(out, of...)
			continue
		}
		count := map[kind]int{}
		for _, p := range of {
			k := kind{p.Severity, p.Reason}
			count[k]++
			if count[k] <= maxProblems || p.Severity == mesh.Rejected && !p.Partial {
				out = append(out, p)
			}
		}
		for k, n := range count {
			if n > maxProblems {
				out = append(out, mesh.Problem{Object: of[0].Object, Severity: k.severity, Partial: true, Reason: k.reason,
					Message: fmt.Sprintf("and %d more of the kind; mend the first ones to see the rest", n-maxProblems)})
			}
		}
	}
	slices.SortFunc(out, mesh.Problem.Compare)
	return out
}

// pass compiles the objects as they are.
func (c *Compiler) pass(in *input.Objects) *input.Result {
	b := newBuilder(c, in)
	c.judge(b)
	b.indexMeshes()
	b.useSettings()
	b.joinMeshes()
	b.resolveNames()
	b.compileDestinations()
	b.compileRouters()
	b.compileServices()
	b.compileHosts()
	b.compileWorkloads()
	b.checkGroups()
	b.compileGateways()
	b.assignMembers()
	c.selectors.turn()
	c.applications.turn()
	c.inspectors.turn()
	c.httpNames.turn()
	c.entrances.turn()
	c.secondHops.turn()
	c.named.turn()
	c.endpoints.turn()
	c.destinations.turn()
	return b.seal()
}

// judge adds what validate finds in each object by itself.
func (c *Compiler) judge(b *builder) {
	for o := range input.All[meshv1beta2.Object](b.in) {
		b.problems = append(b.problems, c.judged.get(o, b.judgeObject)...)
	}
	c.judged.turn()
}

// hostOfCallers is the rule against nodes at addresses of their callers.
const hostOfCallers = "X29"

func (b *builder) judgeObject(o meshv1beta2.Object) []mesh.Problem {
	var out []mesh.Problem
	rules := validate.Rules{AdminPort: b.in.Settings.AdminPort}
	for _, f := range rules.Object(o, nil) {
		if b.in.Settings.Loopback && f.Rule.ID == hostOfCallers {
			continue
		}
		p := mesh.Problem{
			Object: input.ID(o), Severity: mesh.Rejected, Reason: f.Rule.Reason, Path: f.Path, Message: f.Message,
			// All that compile cannot use is left out by parts; only an object without a usable name is lost as a whole.
			Partial: f.Rule.Reason != meshv1beta2.ReasonNameTooLong,
		}
		if f.Rule.Class == meshv1beta2.ClassWarn {
			p.Severity = mesh.Adjusted
		}
		out = append(out, p)
	}
	return out
}

// builder holds the intermediate results of the passes. Maps are only looked up, never ranged over, where order matters.
type builder struct {
	compiler *Compiler
	// in has its objects, as far as their age matters, in the order of it.
	in       *input.Objects
	of       objectsByAge
	problems []mesh.Problem

	meshes []*meshInfo // by age
	meshOf map[mesh.Object]*meshInfo
	labels map[string]map[string]string // of namespaces
	// designated are the meshes that select a namespace, by namespace.
	designated map[string]designation
	names      map[mesh.Object]input.Place
	services   map[serviceKey]*input.Service
	slices     map[serviceKey][]*input.Slice

	nodes       map[types.NamespacedName]*node
	nodeByName  map[nameKey]*node
	nodeOrder   []*node
	routers     map[types.NamespacedName]*router
	routeByName map[nameKey]*router
	virtuals    map[types.NamespacedName]*virtualService
	gateways    []*gateway // by age
	// gatewayIndex finds the gateways that select a pod.
	gatewayIndex selectorIndex
	entering     []*meshv1beta2.GatewayRoute
	virtualOf    map[nameKey]*virtualService
	// virtualsIn are the services of a namespace, oldest first; made at first use.
	virtualsIn map[string][]*virtualService
	groupOf    map[types.NamespacedName]*meshv1beta2.BackendGroup
	// besideNodes are the members of groups that some node has found in its own namespace.
	besideNodes map[types.NamespacedName]bool
	policies    policies
	outside     []input.Outsider
	refused     []input.Refused
	// instances are the nodes that register in Cloud Map, made at first use; compared counts what each namespace's nodes chose from.
	instances map[cloudMapKey][]*node
	compared  map[string]int
	// calls counts the backends of the nodes of a namespace.
	calls map[string]int
	// contested are the pods that several nodes select, by the node that they run as.
	contested map[*node][]contest
	// issued are the listener certificates that the mesh's own authority replaces, by node or gateway.
	issued map[mesh.Object]bool
	// alike are the meshes in which two services may stand for one host.
	alike map[*meshInfo]bool
	// tcpListeners are the last ones made for a service.
	tcpListeners map[tcpKey]*mesh.Listener

	dnsNames  []mesh.Name
	workloads []*mesh.Workload
	groups    map[string]*mesh.Group
	groupIDs  map[member]string
	proxies   []mesh.Proxy
	members   map[string]string
}

// nameKey is an effective name within a mesh.
type nameKey struct{ mesh, name string }

func newBuilder(c *Compiler, in *input.Objects) *builder {
	of := c.aged.of(in)
	members := len(in.Config)
	b := &builder{
		compiler:     c,
		in:           in,
		of:           of,
		meshOf:       make(map[mesh.Object]*meshInfo, members),
		labels:       make(map[string]map[string]string, len(in.Namespaces)),
		designated:   map[string]designation{},
		names:        make(map[mesh.Object]input.Place, members),
		services:     make(map[serviceKey]*input.Service, len(in.Services)),
		slices:       make(map[serviceKey][]*input.Slice, len(in.Slices)),
		nodes:        make(map[types.NamespacedName]*node, len(of.VirtualNodes)),
		nodeByName:   make(map[nameKey]*node, len(of.VirtualNodes)),
		routers:      make(map[types.NamespacedName]*router, len(of.VirtualRouters)),
		routeByName:  make(map[nameKey]*router, len(of.VirtualRouters)),
		virtuals:     make(map[types.NamespacedName]*virtualService, len(of.VirtualServices)),
		virtualOf:    make(map[nameKey]*virtualService, len(of.VirtualServices)),
		groups:       make(map[string]*mesh.Group, len(of.VirtualNodes)),
		groupIDs:     make(map[member]string, len(of.VirtualNodes)),
		besideNodes:  map[types.NamespacedName]bool{},
		contested:    map[*node][]contest{},
		calls:        map[string]int{},
		compared:     map[string]int{},
		issued:       map[mesh.Object]bool{},
		tcpListeners: map[tcpKey]*mesh.Listener{},
	}
	for _, n := range in.Namespaces {
		b.labels[n.Name] = n.Labels
	}
	for _, s := range in.Services {
		b.services[serviceKey{s.Namespace, s.Name}] = s
	}
	for _, s := range in.Slices {
		k := serviceKey{s.Namespace, s.Service}
		b.slices[k] = append(b.slices[k], s)
	}
	return b
}

// problem records a fault.
func (b *builder) problem(p mesh.Problem) { b.problems = append(b.problems, p) }

// seal sorts what the passes made and computes the fingerprints of workloads.
func (b *builder) seal() *input.Result {
	slices.SortFunc(b.workloads, func(x, y *mesh.Workload) int { return cmp.Compare(x.ID.String(), y.ID.String()) })
	for _, w := range b.workloads {
		w.Fingerprint = fingerprintWorkload(w)
	}
	m := &mesh.Model{Workloads: b.workloads, Names: b.dnsNames, Proxies: b.proxies, Members: b.members}
	for _, g := range b.groups {
		m.Groups = append(m.Groups, g)
	}
	slices.SortFunc(m.Groups, func(x, y *mesh.Group) int { return cmp.Compare(x.ID, y.ID) })
	certificates := b.certificateRequests()
	slices.SortFunc(b.problems, mesh.Problem.Compare)
	slices.SortFunc(b.refused, func(x, y input.Refused) int { return comparePods(x.Pod, y.Pod) })
	return &input.Result{
		Model: m, Problems: slices.Compact(b.problems), Names: b.names, Certificates: certificates, Outside: b.outside, Refused: b.refused,
	}
}

// fingerprintWorkload covers the workload's own settings, its services and routes by their fingerprints, and the settings of every
// destination, but no endpoints.
func fingerprintWorkload(w *mesh.Workload) mesh.Hash {
	parts := make([]mesh.Hash, 1, 1+len(w.Inbound)+len(w.Outbound)+len(w.Destinations))
	parts[0] = mesh.Fingerprint(w)
	for _, list := range [][]*mesh.Listener{w.Inbound, w.Outbound} {
		for _, l := range list {
			if l.Routes != nil {
				parts = append(parts, l.Routes.Fingerprint)
			}
		}
	}
	for _, d := range w.Destinations {
		parts = append(parts, d.Fingerprint)
	}
	return mesh.Join(parts)
}

func keyOf(o meshv1beta2.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

const (
	httpsPort = 443
	// maxPodAddresses bounds the filter chains that one service gets for the addresses of its pods.
	maxPodAddresses = 250
)

// sharePort decides which connections to a port mean which of its services, so that none reaches a service that nobody meant. See
// docs/decisions/028-outbound-ports.md.
//
//   - A connection to a known address of a service means that service: a cluster IP, the address of a pod of a headless Service, or
//     what the operator's DNS server answers for the name.
//   - A TCP service outside the cluster, whose addresses are not known, is found by TLS server name where others share its port, and
//     on port 443.
//   - The only TCP service without a known address takes the rest, as in App Mesh, unless HTTP services share the port.
//   - In a mesh that lets everything out, what goes to an unknown address may mean a host outside of the mesh. So a TCP service with
//     known addresses takes these only, and HTTP services take what is HTTP.
//
// What is left is not traffic of the mesh.
func (b *builder) sharePort(n *node, p *outboundPort, allowAll bool) {
	p.inspect = allowAll && len(p.http) > 0 && !slices.Contains(ownPorts, p.number)
	if len(p.tcp) == 1 && len(p.http) == 0 {
		takePort(p, allowAll)
		return
	}
	if len(p.tcp) > 0 {
		b.shareTCP(n, p)
	}
	if !p.inspect {
		return
	}
	taken := map[string]bool{}
	for _, t := range p.tcp {
		unclaimed(taken, t.addresses)
		unclaimed(taken, t.podAddresses)
	}
	for i := range p.http {
		p.http[i].addresses = unclaimed(taken, p.http[i].service.Addresses)
	}
	for i := range p.http {
		p.http[i].addresses = append(p.http[i].addresses, unclaimed(taken, p.http[i].service.Resolved)...)
	}
}

// takePort decides what leads to a TCP service that has a port for itself.
func takePort(p *outboundPort, allowAll bool) {
	t := &p.tcp[0]
	if allowAll && len(t.service.Addresses) > 0 {
		t.addresses = unclaimed(map[string]bool{}, slices.Concat(t.service.Addresses, t.service.Resolved))
		return
	}
	t.rest = true
	if p.number == httpsPort && len(t.service.Addresses) == 0 {
		t.serverNames = unclaimed(map[string]bool{}, serverNames(t.service, t.port))
		p.inspect = len(t.serverNames) > 0
	}
}

// shareTCP fills in what leads to each TCP service of a port; those to which nothing leads are left out with a problem.
func (b *builder) shareTCP(n *node, p *outboundPort) {
	addresses, names := map[string]bool{}, map[string]bool{}
	var unknown []*outboundTCP // no address is known
	headless := false
	for i := range p.tcp {
		t := &p.tcp[i]
		t.addresses = unclaimed(addresses, t.service.Addresses)
		if t.service.Headless {
			t.podAddresses = unclaimed(addresses, b.podAddresses(t.port))
			headless = true
		}
		if len(t.service.Addresses) == 0 && len(t.podAddresses) == 0 {
			unknown = append(unknown, t)
		}
	}
	// The addresses by which a name resolves may be those of another service's own name, which comes first.
	for i := range p.tcp {
		p.tcp[i].addresses = append(p.tcp[i].addresses, unclaimed(addresses, p.tcp[i].service.Resolved)...)
	}
	// A pod of a headless Service may be dialled before it is known, so what is left there cannot be told.
	if len(unknown) == 1 && len(p.http) == 0 && !headless {
		unknown[0].rest = true
	}
	for _, t := range unknown {
		if len(unknown) > 1 || len(p.http) > 0 || p.number == httpsPort {
			t.serverNames = unclaimed(names, serverNames(t.service, t.port))
		}
		p.inspect = p.inspect || len(t.serverNames) > 0
	}
	b.reportByName(n, p)
	var kept []outboundTCP
	for _, t := range p.tcp {
		switch {
		case len(t.addresses) > 0 || len(t.podAddresses) > 0 || len(t.serverNames) > 0 || t.rest:
			kept = append(kept, t)
		case !slices.ContainsFunc(p.tcp, func(other outboundTCP) bool { return meansSame(other, t) }):
			b.problem(mesh.Problem{Object: n.self, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonPortConflict, Path: "spec.backends",
				Message: fmt.Sprintf("tcp backend %s is left out: no address and no TLS server name tells it apart from the other backends on port %d; "+
					"use another port, or a Service of its own", t.service.Object, p.number)})
		}
	}
	p.tcp = kept
}

// meansSame is true when connections to an address of t go to other, and from there to the same targets. So two names of one Service do
// no harm.
func meansSame(other, t outboundTCP) bool {
	if !slices.ContainsFunc(other.addresses, func(a string) bool {
		return slices.Contains(t.service.Addresses, a) || slices.Contains(t.service.Resolved, a)
	}) {
		return false
	}
	targets := func(p *mesh.ServicePort) (out []mesh.Target) {
		if len(p.Routes) > 0 {
			out = p.Routes[0].Targets
		}
		return out
	}
	return slices.EqualFunc(targets(other.port), targets(t.port), func(x, y mesh.Target) bool { return x.Cluster == y.Cluster && x.Weight == y.Weight })
}

// reportByName says which services of a port are found by TLS server name only, unless clients speak TLS there anyway.
func (b *builder) reportByName(n *node, p *outboundPort) {
	if p.number == httpsPort {
		return
	}
	var objects []string
	for _, t := range p.tcp {
		if len(t.serverNames) > 0 && !t.rest {
			objects = append(objects, t.service.Object.String())
		}
	}
	if len(objects) > 0 {
		b.problem(mesh.Problem{Object: n.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: "spec.backends",
			Message: fmt.Sprintf("%s on shared port %d: only TLS connections that name the host reach it; use another port for others",
				several(objects), p.number)})
	}
}

// several lists a handful of names and counts the others.
func several(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// unclaimed returns the values that nobody has claimed, and claims them. Services come in the order of their age.
func unclaimed(taken map[string]bool, values []string) []string {
	var free []string
	for _, v := range values {
		if !taken[v] {
			taken[v] = true
			free = append(free, v)
		}
	}
	return free
}

// podAddresses are those of all pods behind a port, ready or not, and of endpoints that are no pods; none if there are too many.
func (b *builder) podAddresses(p *mesh.ServicePort) []string {
	var out []string
	for _, r := range p.Routes {
		for _, t := range r.Targets {
			d := t.Destination
			if d == nil {
				continue
			}
			if n := b.nodeOf(d.Object); n != nil {
				for _, pod := range n.pods {
					out = append(out, pod.IPs...)
				}
			}
			if d.Endpoints != nil {
				for _, e := range d.Endpoints.List {
					out = append(out, e.Address)
				}
			}
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxPodAddresses {
		return nil
	}
	return out
}

func (b *builder) nodeOf(o mesh.Object) *node {
	return b.nodes[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}]
}

// serverNames are the TLS server names by which clients call a service whose targets are all outside the cluster: its own name and
// those of the hosts.
func serverNames(s *mesh.Service, p *mesh.ServicePort) []string {
	out := []string{s.Name}
	outside := false
	for _, r := range p.Routes {
		for _, t := range r.Targets {
			if t.Destination == nil {
				continue
			}
			if t.Destination.DNS == nil {
				return nil
			}
			outside = true
			out = append(out, t.Destination.DNS.Host)
		}
	}
	if !outside {
		return nil
	}
	for i, name := range out {
		out[i] = strings.ToLower(strings.TrimSuffix(name, "."))
	}
	return slices.DeleteFunc(out, func(name string) bool {
		_, err := netip.ParseAddr(name)
		return err == nil || !isServerName(name)
	})
}

// isServerName is true for names that Envoy takes as a TLS server name.
func isServerName(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

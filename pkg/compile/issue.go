package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// maxNames bounds the names of one certificate: it travels in every handshake.
const maxNames = 200

// certificateRequests says what the mesh's authority should issue: certificates good for the names under which callers look for
// a workload.
//
// Hosts are written by users, so a certificate is never good for a name of another namespace, nor for one below the trust domain except
// the workload's own. Services of other namespaces give no names to it, so that nobody changes others' certificates.
func (b *builder) certificateRequests() []input.CertificateRequest {
	if len(b.issued) == 0 {
		return nil
	}
	provided := map[mesh.Object][]string{}
	for _, o := range b.of.VirtualServices {
		v := b.virtuals[keyOf(o)]
		if v == nil || v.object != o {
			continue
		}
		for _, p := range v.service.Ports {
			for _, r := range p.Routes {
				for _, t := range r.Targets {
					if t.Destination != nil && t.Destination.Object.Namespace == o.Namespace {
						provided[t.Destination.Object] = append(provided[t.Destination.Object], v.service.Name)
					}
				}
			}
		}
	}
	var out []input.CertificateRequest
	for _, n := range b.nodeOrder {
		if b.issued[n.self] {
			names := append(discoveryNames(discoveryName(n.object.Spec.ServiceDiscovery)), provided[n.self]...)
			out = append(out, b.certificateRequest(n.self, "vn", names))
		}
	}
	for _, g := range b.gateways {
		if b.issued[g.self] {
			out = append(out, b.certificateRequest(g.self, "vg", gatewayHostnames(g)))
		}
	}
	slices.SortFunc(out, func(x, y input.CertificateRequest) int { return x.Object.Compare(y.Object) })
	return out
}

// certificateRequest keeps the names that the certificate of o may have, and says which it leaves out. The first names count most.
func (b *builder) certificateRequest(o mesh.Object, zone string, names []string) input.CertificateRequest {
	domain := cmp.Or(b.in.Settings.TrustDomain, defaultClusterDomain)
	r := input.CertificateRequest{Object: o, DNS: []string{strings.Join([]string{o.Name, o.Namespace, zone, domain}, ".")}}
	var foreign, unfit, surplus []string
	seen := map[string]bool{}
	for _, name := range names {
		name = strings.TrimSuffix(strings.ToLower(name), ".")
		switch {
		case seen[name] || serverName(name) == "" || strings.Contains(name, ":"):
			continue
		case !isDNSName(name):
			unfit = append(unfit, name)
		case !b.ownName(o.Namespace, name):
			foreign = append(foreign, name)
		case len(r.DNS) == maxNames:
			surplus = append(surplus, name)
		default:
			r.DNS = append(r.DNS, name)
		}
		seen[name] = true
	}
	b.withoutNames(o, unfit, "no certificate can hold them; write names in their ASCII form")
	b.withoutNames(o, foreign, "they belong to another namespace or to the mesh")
	b.withoutNames(o, surplus, fmt.Sprintf("a certificate holds at most %d names; use another gateway for the rest", maxNames))
	slices.Sort(r.DNS)
	return r
}

func (b *builder) withoutNames(o mesh.Object, names []string, why string) {
	if len(names) > 0 {
		b.problem(mesh.Problem{Object: o, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted,
			Message: fmt.Sprintf("the certificate of the mesh's authority is not good for %s: %s", some(names), why)})
	}
}

// ownName is true when a certificate of the namespace may be good for a host. What lies in the cluster's or the trust domain must be a
// name that DNS gives to the namespace.
func (b *builder) ownName(namespace, host string) bool {
	owner := membership.HostOwner(host, b.in.Settings.ClusterDomain)
	if owner == namespace {
		return true
	}
	for _, domain := range []string{b.in.Settings.ClusterDomain, b.in.Settings.TrustDomain, defaultClusterDomain} {
		if domain != "" && (host == domain || strings.HasSuffix(host, "."+domain)) {
			return false
		}
	}
	if owner == "" {
		return true
	}
	// A host of two labels belongs to the namespace that the second one names, if there is one.
	_, exists := b.labels[owner]
	return !exists && !strings.HasSuffix(host, ".svc") && !strings.HasSuffix(host, ".pod")
}

// isDNSName is true for what a certificate can hold as a DNS name; its first label may be a wildcard.
func isDNSName(s string) bool {
	const longestName, longestLabel = 253, 63
	if s == "" || len(s) > longestName {
		return false
	}
	for i, label := range strings.Split(s, ".") {
		if i == 0 && label == "*" {
			continue
		}
		if label == "" || len(label) > longestLabel || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

// gatewayHostnames are the hosts that a gateway's routes name, those of its own namespace first.
func gatewayHostnames(g *gateway) []string {
	var own, others []string
	for _, r := range g.routes {
		name := exactHost(r)
		switch {
		case name == "":
		case r.Namespace == g.self.Namespace:
			own = append(own, name)
		default:
			others = append(others, name)
		}
	}
	return append(own, others...)
}

func exactHost(r *meshv1beta2.GatewayRoute) string {
	var h *meshv1beta2.HostnameMatch
	switch s := &r.Spec; {
	case s.HTTPRoute != nil:
		h = s.HTTPRoute.Match.Hostname
	case s.HTTP2Route != nil:
		h = s.HTTP2Route.Match.Hostname
	case s.GRPCRoute != nil:
		h = s.GRPCRoute.Match.Hostname
	}
	if h == nil {
		return ""
	}
	return value(h.Exact)
}

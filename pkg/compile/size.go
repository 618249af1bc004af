package compile

import (
	"fmt"
	"slices"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Bounds on what the objects of one tenant may add to the configuration of one group of proxies, in bytes as estimated here: about what Envoy
// is sent. The usual route takes 400 of them. What crosses a bound is not served and says so; everything else is.
const (
	// maxRouterBytes bounds the routes of one VirtualRouter, and so what one service costs each of its callers.
	maxRouterBytes = 2 << 20
	// maxShareBytes bounds what the routes of one namespace add to one gateway, with the services that they lead to.
	maxShareBytes = 4 << 20
	// maxCallerBytes bounds the services that one node calls.
	maxCallerBytes = 16 << 20
)

// maxCalls bounds the backends of all nodes of one namespace together, each of which takes a place in the set of a group.
const maxCalls = 100_000

// maxInstances bounds what the Cloud Map nodes of one namespace choose their endpoints from: nodes times instances.
const maxInstances = 300_000

// maxSelecting bounds the listeners that one pod is an endpoint of: those of all nodes that select it.
const maxSelecting = 100

func matchSize(m *mesh.Match) int {
	const criterion = 40
	n := len(m.Path)
	for _, list := range [][]mesh.ValueMatch{m.Headers, m.Queries} {
		for _, v := range list {
			n += criterion + len(v.Name) + len(v.Value)
		}
	}
	return n
}

func routeSize(r *mesh.Route) int {
	const empty, target = 250, 30
	n := empty + len(r.Name) + matchSize(&r.Match)
	for _, t := range r.Targets {
		n += target + len(t.Cluster)
	}
	return n
}

// serviceSize is what a service costs a caller: its routes, and a cluster for each of their targets.
func serviceSize(s *mesh.Service) int {
	const host, cluster = 100, 400
	n := host + 2*len(s.Name)
	for _, p := range s.Ports {
		for _, r := range p.Routes {
			n += routeSize(r) + cluster*len(r.Targets)
		}
	}
	return n
}

// gatewayRouteSize is what a route costs its gateway, without the service.
func gatewayRouteSize(d decodedGatewayRoute) int {
	const empty = 300
	r := d.route
	return empty + len(r.Name) + matchSize(&r.Match) + len(d.host.exact) + 2*len(d.host.suffix) + len(r.Rewrite.Path) + len(r.Rewrite.Prefix)
}

// tooLarge reports what is over a bound.
func (b *builder) tooLarge(p mesh.Problem, format string, args ...any) {
	p.Severity, p.Reason, p.Message = mesh.Rejected, meshv1beta2.ReasonTooLarge, fmt.Sprintf(format, args...)
	b.problem(p)
}

// fits is false for a route that would take its router over the bound.
func (r *router) fits(s source, route *mesh.Route) bool {
	size := routeSize(route)
	if r.bytes+size <= maxRouterBytes {
		r.bytes += size
		return true
	}
	if r.surplus == nil {
		r.surplus = map[mesh.Object][]string{}
	}
	r.surplus[s.owner] = append(r.surplus[s.owner], s.name)
	return false
}

// reportSurplus says which routes of a router are left out because of their size.
func (b *builder) reportSurplus(r *router) {
	for owner, names := range r.surplus {
		b.tooLarge(mesh.Problem{Object: owner, Partial: owner == r.self}, "routes %s are left out: those of %s before them have %d MiB, which is the most; use another VirtualRouter for them",
			some(names), r.self, maxRouterBytes>>20)
	}
}

// boundBackends leaves out what takes a node's services over the bound. Those of the node's own namespace come first, so that nobody else's
// push them out.
func (b *builder) boundBackends(n *node, w *mesh.Workload) {
	total, free := 0, maxCalls-b.calls[n.self.Namespace]
	for _, be := range w.Backends {
		total += be.Service.Size
	}
	if total <= maxCallerBytes && len(w.Backends) <= free {
		b.calls[n.self.Namespace] += len(w.Backends)
		return
	}
	list := slices.Clone(w.Backends)
	slices.SortStableFunc(list, func(x, y mesh.Backend) int {
		foreign := func(b mesh.Backend) int {
			return map[bool]int{false: 0, true: 1}[b.Service.Object.Namespace != n.self.Namespace]
		}
		return foreign(x) - foreign(y)
	})
	total = 0
	var left []string
	w.Backends = slices.DeleteFunc(list, func(be mesh.Backend) bool {
		if total+be.Service.Size > maxCallerBytes || free == 0 {
			left = append(left, be.Service.Name)
			return true
		}
		total, free = total+be.Service.Size, free-1
		return false
	})
	b.calls[n.self.Namespace] += len(w.Backends)
	b.tooLarge(mesh.Problem{Object: n.self, Partial: true, Path: "spec.backends"},
		"backends %s are left out: a node's may have %d MiB of routes and clusters, and the nodes of a namespace %d backends in all; name fewer",
		some(left), maxCallerBytes>>20, maxCalls)
}

// affords is false, and says so, for a gateway route that takes the share of its namespace over the bound.
func (e *entering) affords(d decodedGatewayRoute, s *mesh.Service) bool {
	size := gatewayRouteSize(d)
	if e.services[hostKey(s)] == nil {
		size += s.Size
	}
	if e.shares == nil {
		e.shares = map[string]int{}
	}
	if ns := d.self.Namespace; e.shares[ns]+size <= maxShareBytes {
		e.shares[ns] += size
		return true
	}
	e.b.tooLarge(mesh.Problem{Object: d.self}, "the route is not served: older routes of namespace %s at %s have %d MiB with their services, which is the most; remove some or use another gateway",
		d.self.Namespace, e.g.self, maxShareBytes>>20)
	return false
}

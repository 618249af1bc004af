package compile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// router is a VirtualRouter while it is compiled.
type router struct {
	object *meshv1beta2.VirtualRouter
	self   mesh.Object
	mesh   *meshInfo
	ports  []*mesh.ServicePort
	// sources are the Route objects and the nodes that its routes use.
	sources []mesh.Object
	// bytes is the size of its routes; surplus are the names of those that are left out because of it, by owner.
	bytes   int
	surplus map[mesh.Object][]string
}

// source is one route as written, inline or as an object of its own.
type source struct {
	name string
	body *meshv1beta2.RouteBody
	// owner is the object that conditions go to; path is where the route stands in it.
	owner mesh.Object
	path  string
}

// compileRouters merges the routes of each router and puts them in matching order.
func (b *builder) compileRouters() {
	own := map[mesh.Object][]*meshv1beta2.Route{}
	for _, r := range b.of.Routes {
		of := input.AppMesh("VirtualRouter", r.Namespace, r.Spec.VirtualRouterRef.Name)
		own[of] = append(own[of], r)
	}
	for _, obj := range b.of.VirtualRouters {
		if r := b.routers[keyOf(obj)]; r != nil && r.object == obj {
			b.compileRouter(r, own[r.self])
		}
		delete(own, input.ID(obj))
	}
	for _, r := range b.of.Routes {
		of := input.AppMesh("VirtualRouter", r.Namespace, r.Spec.VirtualRouterRef.Name)
		if _, orphan := own[of]; orphan {
			b.problem(mesh.Problem{Object: input.ID(r), Severity: mesh.Unresolved, Reason: meshv1beta2.ReasonVirtualRouterNotFound, Path: "spec.virtualRouterRef.name",
				Message: fmt.Sprintf("VirtualRouter %s/%s does not exist; create it, or the route has no effect", of.Namespace, of.Name)})
		}
	}
}

func (b *builder) compileRouter(r *router, routes []*meshv1beta2.Route) {
	taken := map[uint32]bool{}
	for i, l := range r.object.Spec.Listeners {
		port := uint32(l.PortMapping.Port)
		if taken[port] || !b.isPort(r.self, listenerPath(i), l.PortMapping.Port) {
			continue // reported by validate
		}
		taken[port] = true
		r.ports = append(r.ports, &mesh.ServicePort{Port: port, Protocol: mesh.Protocol(l.PortMapping.Protocol)})
	}
	for _, s := range b.mergeRoutes(r, routes) {
		b.addRoute(r, s)
	}
	b.reportSurplus(r)
	for _, p := range r.ports {
		slices.SortStableFunc(p.Routes, compareRoutes)
		b.onlyOneTCP(r, p)
	}
	slices.SortFunc(r.sources, mesh.Object.Compare)
	r.sources = slices.Compact(r.sources)
}

// mergeRoutes lists the routes of a router: inline ones win over objects, older objects over younger ones.
func (b *builder) mergeRoutes(r *router, routes []*meshv1beta2.Route) []source {
	var out []source
	holder := map[string]mesh.Object{}
	for i := range r.object.Spec.Routes {
		in := &r.object.Spec.Routes[i]
		path := fmt.Sprintf("spec.routes[%d]", i)
		if _, ok := holder[in.Name]; ok {
			continue // reported by validate; the first one is used
		}
		holder[in.Name] = r.self
		out = append(out, source{in.Name, &in.RouteBody, r.self, path})
	}
	for _, o := range routes {
		self := input.ID(o)
		b.names[self] = input.Place{Mesh: r.mesh.name, Name: meshv1beta2.EffectiveName(r.object) + "/route/" + o.Name}
		if winner, ok := holder[o.Name]; ok {
			b.problem(mesh.Problem{Object: self, Severity: mesh.Rejected, Reason: meshv1beta2.ReasonRouteConflict, Path: "metadata.name",
				Message: fmt.Sprintf("%s already has a route %q (in %s), which wins; give this Route another name", r.self, o.Name, winner)})
			continue
		}
		holder[o.Name] = self
		r.sources = append(r.sources, self)
		out = append(out, source{o.Name, &o.Spec.RouteBody, self, "spec"})
	}
	return out
}

// addRoute puts one route on the port of the router that it belongs to, or says why it cannot.
func (b *builder) addRoute(r *router, s source) {
	d, ok := b.decode(s)
	if !ok {
		return
	}
	p := b.portOf(r, s, d)
	if p == nil {
		return
	}
	route := &mesh.Route{
		Name: s.name, Object: s.owner, Priority: priority(s.body.Priority),
		Match: d.match, Timeout: d.timeout, Retry: d.retry,
	}
	if !b.compileTargets(r, s, d, p, route) {
		return
	}
	if r.fits(s, route) {
		p.Routes = append(p.Routes, route)
	}
}

// priority of a route without one is the lowest. Source: App Mesh documents it for gateway routes.
func priority(p *int64) int {
	const lowest = 1000
	if p == nil {
		return lowest
	}
	return int(*p)
}

// portOf finds the listener of the router that a route belongs to.
func (b *builder) portOf(r *router, s source, d decoded) *mesh.ServicePort {
	mismatch := func(path, msg string) {
		b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Rejected, Partial: s.owner == r.self, Reason: meshv1beta2.ReasonListenerMismatch,
			Path: s.path + path, Message: fmt.Sprintf("route %q is left out: %s", s.name, msg)})
	}
	if len(r.ports) == 0 {
		return nil
	}
	var p *mesh.ServicePort
	switch {
	case d.port != 0:
		i := slices.IndexFunc(r.ports, func(x *mesh.ServicePort) bool { return x.Port == d.port })
		if i < 0 {
			mismatch("."+d.field+".match.port", fmt.Sprintf("%s has no listener on port %d", r.self, d.port))
			return nil
		}
		p = r.ports[i]
	case len(r.ports) > 1:
		mismatch("."+d.field+".match", fmt.Sprintf("%s has several listeners, so match.port must say which one the route belongs to", r.self))
		return nil
	default:
		p = r.ports[0]
	}
	if p.Protocol != d.protocol {
		mismatch("."+d.field, fmt.Sprintf("it is for %s, but the listener on port %d of %s speaks %s", d.protocol, p.Port, r.self, p.Protocol))
		return nil
	}
	return p
}

// compileTargets resolves the weighted targets. It is false when the route must be left out as a whole.
func (b *builder) compileTargets(r *router, s source, d decoded, p *mesh.ServicePort, route *mesh.Route) bool {
	for i, t := range d.targets {
		path := fmt.Sprintf("%s.%s.action.weightedTargets[%d]", s.path, d.field, i)
		n := b.targetNode(r, s, t, path)
		target, ok := b.target(r, s, t, n, p, path)
		if !ok {
			return false
		}
		target.Weight = uint32(t.Weight)
		if same := slices.IndexFunc(route.Targets, func(x mesh.Target) bool { return x.Cluster == target.Cluster }); same >= 0 {
			route.Targets[same].Weight += target.Weight
			continue
		}
		route.Targets = append(route.Targets, target)
	}
	return true
}

// target resolves one weighted target to a port of its node. A target that does not resolve keeps its share, which answers 503.
func (b *builder) target(r *router, s source, t meshv1beta2.WeightedTarget, n *node, p *mesh.ServicePort, path string) (mesh.Target, bool) {
	if n == nil {
		return unresolved(r.mesh.name, targetLabel(t)), true
	}
	r.sources = append(r.sources, n.self)
	unusable := func(msg string) mesh.Target {
		b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Unresolved, Partial: true, Reason: meshv1beta2.ReasonListenerMismatch, Path: path,
			Message: msg + "; this share of the traffic gets 503"})
		return unresolved(r.mesh.name, n.name)
	}
	if len(n.listeners) == 0 {
		return unusable(fmt.Sprintf("%s has no listener to send traffic to", n.self)), true
	}
	l := n.listeners[0]
	switch {
	case t.Port != nil && *t.Port != 0:
		i := slices.IndexFunc(n.listeners, func(x listener) bool { return int64(x.port) == *t.Port })
		if i < 0 {
			return unusable(fmt.Sprintf("%s has no listener on port %d", n.self, *t.Port)), true
		}
		l = n.listeners[i]
	case len(n.listeners) > 1:
		b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Rejected, Partial: s.owner == r.self, Reason: meshv1beta2.ReasonTargetPortAmbiguous, Path: path + ".port",
			Message: fmt.Sprintf("route %q is left out: %s has several listeners, so the target's port must say which one is meant", s.name, n.self)})
		return mesh.Target{}, false
	}
	if l.protocol.IsHTTP() != p.Protocol.IsHTTP() {
		return unusable(fmt.Sprintf("the listener on port %d of %s speaks %s, the route %s", l.port, n.self, l.protocol, p.Protocol)), true
	}
	d := n.destinations[l.port]
	if d == nil {
		return unusable(fmt.Sprintf("%s cannot be reached, see its conditions", n.self)), true
	}
	return mesh.Target{Cluster: d.Cluster, Destination: d}, true
}

// unresolved names a cluster that is never defined: Envoy answers 503 for it.
func unresolved(meshName, name string) mesh.Target {
	return mesh.Target{Cluster: "cds_egress_" + meshName + "_" + name + "_unresolved"}
}

// compareRoutes is the order in which routes are tried: priority, then exact before regex before prefix, the longer pattern
// first, then the one with more conditions, then the name. Source: App Mesh documents priority and longest prefix; a regex comes
// before prefixes so that a catch-all cannot hide it.
func compareRoutes(x, y *mesh.Route) int {
	return cmp.Or(cmp.Compare(x.Priority, y.Priority), comparePaths(&x.Match, &y.Match), compareConditions(&x.Match, &y.Match), cmp.Compare(x.Name, y.Name))
}

func comparePaths(x, y *mesh.Match) int {
	rank := func(k mesh.PathKind) int {
		return map[mesh.PathKind]int{mesh.PathExact: 0, mesh.PathRegex: 1, mesh.PathPrefix: 2}[k]
	}
	return cmp.Or(cmp.Compare(rank(x.PathKind), rank(y.PathKind)), cmp.Compare(len(y.Path), len(x.Path)))
}

func compareConditions(x, y *mesh.Match) int {
	return cmp.Compare(len(y.Headers)+len(y.Queries), len(x.Headers)+len(x.Queries))
}

// onlyOneTCP keeps the first route of a TCP port: connections carry nothing to choose by.
func (b *builder) onlyOneTCP(r *router, p *mesh.ServicePort) {
	if p.Protocol != mesh.TCP || len(p.Routes) < 2 {
		return
	}
	for _, extra := range p.Routes[1:] {
		b.problem(mesh.Problem{Object: extra.Object, Severity: mesh.Rejected, Partial: extra.Object == r.self, Reason: meshv1beta2.ReasonRouteConflict,
			Message: fmt.Sprintf("tcp route %q is left out: port %d of %s already has route %q, and connections carry nothing to choose by", extra.Name, p.Port, r.self, p.Routes[0].Name)})
	}
	p.Routes = p.Routes[:1]
}

// App Mesh bounds a request by 15 seconds unless told otherwise. Source: App Mesh user guide, timeouts.
const requestTimeout = 15 * time.Second

package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// gateway is a VirtualGateway while it is compiled.
type gateway struct {
	object *meshv1beta2.VirtualGateway
	self   mesh.Object
	mesh   *meshInfo
	name   string
	routes []*meshv1beta2.GatewayRoute // attached ones, oldest first
}

// compileGateways decides what the proxies of each gateway do, in two hops: an entrance chooses the service by host and gateway route,
// then the routes of that service choose the destination.
func (b *builder) compileGateways() {
	b.attachRoutes()
	for _, g := range b.gateways {
		w := &mesh.Workload{
			ID: mesh.WorkloadID{Mesh: g.mesh.name, Gateway: true, Name: g.name}, Object: g.self,
			AccessLog: b.accessLog(g.self, g.object.Spec.Logging),
			HTTP:      g.mesh.http,
		}
		in := entering{b: b, g: g, w: w, listeners: b.gatewayListeners(g), policy: b.defaultPolicy(g.self, g.mesh, g.object.Spec.BackendDefaults)}
		for i := range in.listeners {
			in.redirects = append(in.redirects, in.redirect(i))
			in.targets = append(in.targets, only(in.redirects[i]))
		}
		for _, r := range g.routes {
			w.Also = append(w.Also, input.ID(r))
			in.add(r)
		}
		in.finish()
		b.workloads = append(b.workloads, w)
	}
}

// gatewayListeners are those whose port is free; validate reports the others.
func (b *builder) gatewayListeners(g *gateway) []listener {
	var out []listener
	for i := range g.object.Spec.Listeners {
		l := &g.object.Spec.Listeners[i]
		port := uint32(l.PortMapping.Port)
		if !b.isPort(g.self, listenerPath(i), l.PortMapping.Port) || b.reserved(port) || slices.ContainsFunc(out, func(x listener) bool { return x.port == port }) {
			continue
		}
		usable := listener{port: port, protocol: mesh.Protocol(l.PortMapping.Protocol), tls: b.gatewayTLS(g, l.TLS, listenerPath(i)+".tls")}
		if p := l.ConnectionPool; p != nil {
			usable.pool = httpPool(l.PortMapping.Protocol, p.HTTP, p.HTTP2, p.GRPC)
		}
		out = append(out, usable)
	}
	return out
}

// gatewayOf returns the id of the gateway that a pod injected as one belongs to: the one it was injected as, unless only others
// select it now, of which the oldest counts.
func (b *builder) gatewayOf(p *input.Pod) string {
	first := ""
	for _, i := range b.gatewayIndex.match(p) {
		g := b.gateways[i]
		id := mesh.WorkloadID{Mesh: g.mesh.name, Gateway: true, Name: g.name}.String()
		if id == p.Node {
			return id
		}
		first = cmp.Or(first, id)
	}
	return cmp.Or(first, p.Node)
}

// indexGateways indexes the selectors of the gateways.
func (b *builder) indexGateways() (out selectorIndex) {
	for i, g := range b.gateways {
		if s := g.object.Spec.PodSelector; s != nil {
			out.add(i, g.self.Namespace, s, b.compiler.selectors.get(s, selectorOf))
		}
	}
	return out
}

// entering builds both hops of one gateway.
type entering struct {
	b *builder
	g *gateway
	w *mesh.Workload
	// listeners are the usable ones, redirects lead from each to the second hop, as its only target.
	listeners []listener
	redirects []*mesh.Destination
	targets   [][]mesh.Target
	// policy is how the gateway encrypts; nil leaves it to the services.
	policy *clientPolicy
	// routes are those of each listener, by its index.
	routes map[int][]hosted
	// services are what the routes lead to, by lower-case name, as Envoy compares hosts.
	services map[string]*gatewayService
	// shares are the bytes that the routes of each namespace take, see size.go.
	shares map[string]int
}

// hostKey is equal for services of one host.
func hostKey(s *mesh.Service) string { return strings.ToLower(s.Name) }

// hosted is a gateway route with the hosts that it is for.
type hosted struct {
	*mesh.Route
	host    hostPattern
	created time.Time
	// fingerprint covers the route and its hosts.
	fingerprint mesh.Hash
}

// add puts one route on the entrance that it belongs to.
func (e *entering) add(r *meshv1beta2.GatewayRoute) {
	d, ok := e.b.decodeGatewayRoute(r)
	if !ok {
		return
	}
	i := e.entranceOf(d)
	if i < 0 {
		return
	}
	v := e.b.findService(lookup{
		from: d.self, namespace: r.Namespace, mesh: e.g.mesh, path: "spec." + d.field + ".action.target.virtualService",
		ref: d.target.VirtualService.VirtualServiceRef, arn: d.target.VirtualService.VirtualServiceARN,
		effect: "the route is not served until then",
	})
	if v == nil {
		return
	}
	service := e.b.secured(v.service, e.policy)
	port, ok := e.targetPort(d, service, e.listeners[i].port)
	if !ok || !e.affords(d, service) || !e.use(d, service) {
		return
	}
	d.lead(service.Name, port)
	d.route.Targets, d.route.Timeout = e.targets[i], passingTimeout(service)
	if e.routes == nil {
		e.routes = map[int][]hosted{}
	}
	e.routes[i] = append(e.routes[i], hosted{d.route, d.host, r.CreationTimestamp.UTC(), mesh.Fingerprint(&struct {
		Route         *mesh.Route
		Exact, Suffix string
	}{d.route, d.host.exact, d.host.suffix})})
}

// entranceOf returns the index of the listener that a route belongs to, or -1 after saying why there is none.
func (e *entering) entranceOf(d decodedGatewayRoute) int {
	leftOut := func(s mesh.Severity, reason, path, why string) int {
		e.b.problem(mesh.Problem{Object: d.self, Severity: s, Reason: reason, Path: "spec." + d.field + path, Message: "no request can take the route: " + why})
		return -1
	}
	list := e.listeners
	i := 0
	switch {
	case len(list) == 0:
		return leftOut(mesh.Adjusted, meshv1beta2.ReasonAdjusted, "", fmt.Sprintf("%s has no listener", e.g.self))
	case d.port != 0:
		if i = slices.IndexFunc(list, func(l listener) bool { return l.port == d.port }); i < 0 {
			return leftOut(mesh.Rejected, meshv1beta2.ReasonListenerMismatch, ".match.port", fmt.Sprintf("%s has no listener on port %d", e.g.self, d.port))
		}
	case len(list) > 1:
		return leftOut(mesh.Rejected, meshv1beta2.ReasonListenerMismatch, ".match.port",
			fmt.Sprintf("%s has several listeners, so match.port must say which one the route belongs to", e.g.self))
	}
	if l := list[i]; l.protocol != d.protocol {
		return leftOut(mesh.Adjusted, meshv1beta2.ReasonAdjusted, "",
			fmt.Sprintf("it is for %s, but the listener on port %d of %s speaks %s", d.protocol, l.port, e.g.self, l.protocol))
	}
	return i
}

// targetPort decides which of the service's ports a route on the given port of the gateway means; 0 where the service has only one.
func (e *entering) targetPort(d decodedGatewayRoute, s *mesh.Service, own uint32) (uint32, bool) {
	var ports []uint32
	for _, p := range s.Ports {
		if p.Protocol.IsHTTP() {
			ports = append(ports, p.Port)
		}
	}
	wrong := func(why string) (uint32, bool) {
		e.b.problem(mesh.Problem{Object: d.self, Severity: mesh.Unresolved, Reason: meshv1beta2.ReasonTargetPortAmbiguous,
			Path: "spec." + d.field + ".action.target.port", Message: "the route is not served: " + why})
		return 0, false
	}
	switch want := portNumber(d.target.Port); {
	case len(s.Ports) > 0 && len(ports) == 0:
		return wrong(fmt.Sprintf("%s speaks only tcp, which a gateway cannot route", s.Object))
	case want != 0 && len(ports) > 0 && !slices.Contains(ports, want):
		return wrong(fmt.Sprintf("%s does not answer http, http2 or grpc on port %d; its ports are %v", s.Object, want, ports))
	case len(ports) < 2:
		return 0, true
	case want != 0:
		return want, true
	case slices.Contains(ports, own):
		return own, true
	default:
		return wrong(fmt.Sprintf("%s answers on several ports, %v, so the target's port must say which one is meant", s.Object, ports))
	}
}

// use notes that a route leads to the service. It is false when another service of the gateway stands for the same host.
func (e *entering) use(d decodedGatewayRoute, s *mesh.Service) bool {
	if e.services == nil {
		e.services = map[string]*gatewayService{}
	}
	key := hostKey(s)
	gs := e.services[key]
	if gs == nil {
		gs = &gatewayService{Service: s}
		e.services[key] = gs
		e.w.Backends = append(e.w.Backends, mesh.Backend{Service: s})
	}
	if gs.Service != s {
		e.b.problem(mesh.Problem{Object: d.self, Severity: mesh.Rejected, Reason: meshv1beta2.ReasonHostnameConflict, Path: "spec." + d.field + ".action.target.virtualService",
			Message: fmt.Sprintf("the route is not served: %s and %s both stand for host %q at %s, and an older route leads to %s", gs.Object, s.Object, key, e.g.self, gs.Object)})
		return false
	}
	gs.byHeader = gs.byHeader || d.keepHost
	return true
}

// finish puts everything in order.
func (e *entering) finish() {
	slices.SortFunc(e.w.Also, mesh.Object.Compare)
	slices.SortFunc(e.w.Backends, compareBackends)
	e.w.Destinations = reached(e.w, func(p *mesh.ServicePort) bool { return p.Protocol.IsHTTP() })
	e.secondHop()
	e.w.Destinations = append(e.w.Destinations, e.redirects...)
	for i, l := range e.listeners {
		list := e.routes[i]
		slices.SortStableFunc(list, func(x, y hosted) int {
			return cmp.Or(cmp.Compare(x.Priority, y.Priority), comparePaths(&x.Match, &y.Match), compareHosts(x.host, y.host),
				compareConditions(&x.Match, &y.Match), x.created.Compare(y.created), x.Object.Compare(y.Object))
		})
		e.unreachable(list)
		e.w.Inbound = append(e.w.Inbound, &mesh.Listener{
			Port: l.port, Direct: true, Chains: []mesh.Chain{{Name: inboundName(l)}}, StatPrefix: inboundStats(l, len(e.listeners) > 1),
			TLS: l.tls, Edge: &mesh.Edge{TrustedHops: e.g.mesh.trustedHops},
			RouteConfiguration: inboundRoutes(l), Routes: e.b.entrance(list, e.redirects[i]),
		})
	}
}

// entrance returns the routes of a listener, given in matching order, all of which lead to redirect. What the services do with requests
// does not matter to them.
func (b *builder) entrance(list []hosted, redirect *mesh.Destination) *mesh.Routes {
	parts := make([]mesh.Hash, 1, 1+len(list))
	parts[0] = redirect.Fingerprint
	for i := range list {
		parts = append(parts, list[i].fingerprint)
	}
	return b.compiler.entrances.get(mesh.Join(parts), func(mesh.Hash) *mesh.Routes {
		return (&mesh.Routes{Hosts: gatewayHosts(list), IgnorePort: true}).Seal()
	})
}

// unreachable reports routes whose requests an earlier one takes already.
func (e *entering) unreachable(list []hosted) {
	type request struct {
		host  hostPattern
		match mesh.Hash
	}
	first := map[request]*mesh.Route{}
	for _, r := range list {
		k := request{r.host, mesh.Fingerprint(&r.Match)}
		if f := first[k]; f != nil {
			e.b.problem(mesh.Problem{Object: r.Object, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted,
				Message: fmt.Sprintf("no request can take the route: %s matches the same requests and comes first", f.Object)})
		} else {
			first[k] = r.Route
		}
	}
}

// passingTimeout bounds a request on its way to a service as loosely as any route of the service does; 0, no bound, is the loosest.
// A service without routes has App Mesh's default. Source: dumps of App Mesh's configuration.
func passingTimeout(s *mesh.Service) mesh.Timeout {
	var request, idle []time.Duration
	silent := true
	for _, p := range s.Ports {
		for _, r := range p.Routes {
			if !p.Protocol.IsHTTP() {
				continue
			}
			d := streamIdle
			if r.Timeout.PerRequest != nil {
				request = append(request, *r.Timeout.PerRequest)
			}
			if r.Timeout.Idle != nil {
				d, silent = *r.Timeout.Idle, false
			}
			idle = append(idle, d)
		}
	}
	out := routeTimeout(nil)
	if len(request) > 0 {
		d := loosest(request)
		out.PerRequest = &d
	}
	if !silent {
		d := loosest(idle)
		out.Idle = &d
	}
	return out
}

// streamIdle is Envoy's own bound for streams on which nothing moves.
const streamIdle = 5 * time.Minute

func loosest(list []time.Duration) time.Duration {
	if slices.Contains(list, 0) {
		return 0
	}
	return slices.Max(list)
}

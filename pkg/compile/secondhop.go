package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// redirect returns the destination that leads from a listener of a gateway to the second hop.
func (e *entering) redirect(i int) *mesh.Destination {
	l := &e.listeners[i]
	name := fmt.Sprintf("cds_ingress_%s_%s_self_redirect_", e.w.ID.Mesh, e.w.ID.Name)
	if len(e.listeners) > 1 {
		name += fmt.Sprintf("%d_", l.port)
	}
	d := &mesh.Destination{
		Cluster: fmt.Sprintf("%s%s_%d", name, l.protocol, meshv1beta2.PortOutbound), Port: meshv1beta2.PortOutbound, Protocol: l.protocol,
		Local: &mesh.Local{Port: meshv1beta2.PortOutbound}, Pool: l.pool, HTTP: e.w.HTTP,
	}
	d.Fingerprint = mesh.Fingerprint(d)
	return d
}

// gatewayService is a service that routes of a gateway lead to.
type gatewayService struct {
	*mesh.Service
	// byHeader is true when a route leads here without changing the host.
	byHeader bool
}

// The routes of services named by header stand in the virtual host of every service, so together they may hold many more entries than
// there are routes. Beyond these bounds, as for hosts of entrances, one list serves all services.
const (
	repetitionFactor = 4
	repetitionFloor  = 1024
)

// secondHop adds the listener that the first hop leads to, on loopback only so that nobody can pass gateway routes by.
func (e *entering) secondHop() {
	protocol := mesh.HTTP
	if len(e.listeners) > 0 {
		protocol = e.listeners[0].protocol
	}
	l := httpNamesOf(httpPort{protocol, meshv1beta2.PortOutbound}).all
	l.Direct, l.Hops, l.Fingerprint, l.Routes = true, 1, mesh.Hash{}, e.rememberedRoutes()
	e.w.Outbound = []*mesh.Listener{&l}
}

// secondHop are the routes of a gateway's services in the last pass, with what they are made from.
type secondHop struct {
	services     mesh.Hash
	destinations []*mesh.Destination
	routes       *mesh.Routes
}

// rememberedRoutes returns the routes of all services: those of the last pass if services and destinations are the same.
func (e *entering) rememberedRoutes() *mesh.Routes {
	parts := make([]mesh.Hash, 0, len(e.w.Backends))
	for _, be := range e.w.Backends {
		if e.services[hostKey(be.Service)].byHeader {
			parts = append(parts, mesh.Hash{})
		}
		parts = append(parts, be.Service.Fingerprint)
	}
	services := mesh.Join(parts)
	last := e.b.compiler.secondHops.get(e.w.ID, func(mesh.WorkloadID) *secondHop { return &secondHop{} })
	if last.routes == nil || last.services != services || !slices.Equal(last.destinations, e.w.Destinations) {
		*last = secondHop{services, slices.Clone(e.w.Destinations), e.serviceRoutes()}
	}
	return last.routes
}

// serviceRoutes are the routes of all services, oldest first. A service whose requests keep their host is named by header, which stands
// above the host in every virtual host: a client's host may equal the name of another service.
func (e *entering) serviceRoutes() *mesh.Routes {
	out := &mesh.Routes{Request: mesh.HeaderEdit{Remove: helperHeaders}}
	byHeader := headerRoutes{hashes: []mesh.Hash{mesh.Combine("by header")}}
	all := 0
	for _, be := range e.w.Backends {
		s := e.services[hostKey(be.Service)]
		all++
		for _, p := range httpPorts(s.Service) {
			all += len(p.Routes)
		}
		if s.byHeader {
			byHeader.add(s.Service, serviceHeader)
		}
	}
	if len(byHeader.routes)*len(e.w.Backends) > max(repetitionFloor, repetitionFactor*all) {
		for _, be := range e.w.Backends {
			byHeader.add(be.Service, ":authority")
		}
	} else {
		for _, be := range e.w.Backends {
			out.Hosts = append(out.Hosts, byHeader.host(be.Service))
		}
	}
	if len(byHeader.routes) > 0 {
		out.Hosts = append(out.Hosts, &mesh.Host{
			Name: headerHost, Domains: []string{anyDomain}, Routes: byHeader.routes, Fingerprint: mesh.Join(byHeader.hashes),
		})
	}
	return out.Seal()
}

// headerRoutes are routes for the requests that a header describes. The hashes cover them.
type headerRoutes struct {
	routes []*mesh.Route
	hashes []mesh.Hash
}

// add adds the routes of a service for the requests whose header has its name, and one that answers 404 to the rest of these.
func (h *headerRoutes) add(s *mesh.Service, header string) {
	told := mesh.ValueMatch{Name: header, Kind: mesh.Exact, Value: s.Name}
	h.routes = append(append(h.routes, routesOf(s, told)...), &mesh.Route{
		Object: s.Object, Match: mesh.Match{Path: "/", Headers: []mesh.ValueMatch{told}}, Respond: &mesh.Respond{Status: 404},
	})
	h.hashes = append(h.hashes, mesh.Combine(header, s.Fingerprint))
}

// host returns the host of a service, in which these routes come first.
func (h *headerRoutes) host(s *mesh.Service) *mesh.Host {
	out := &mesh.Host{Name: hostOf(s.Name), Object: s.Object, Domains: []string{s.Name}, Routes: routesOf(s)}
	if len(h.routes) > 0 {
		out.Routes = slices.Concat(h.routes, out.Routes)
	}
	out.Fingerprint = mesh.Combine("second hop", mesh.Join(h.hashes), s.Fingerprint)
	return out
}

// httpPorts are the ports of a service that a gateway can route to.
func httpPorts(s *mesh.Service) []*mesh.ServicePort {
	var out []*mesh.ServicePort
	for _, p := range s.Ports {
		if p.Protocol.IsHTTP() {
			out = append(out, p)
		}
	}
	return out
}

// routesOf merges the routes of all HTTP ports of a service, in the order in which they are tried, with further headers to match. Those of
// a service with several ports match the header by which the first hop tells the port.
func routesOf(s *mesh.Service, told ...mesh.ValueMatch) []*mesh.Route {
	ports := httpPorts(s)
	if len(ports) == 1 && len(told) == 0 {
		return ports[0].Routes
	}
	type of struct {
		port  uint32
		route *mesh.Route
	}
	var all []of
	for _, p := range ports {
		for _, r := range p.Routes {
			all = append(all, of{p.Port, r})
		}
	}
	if len(ports) > 1 {
		slices.SortStableFunc(all, func(x, y of) int { return cmp.Or(compareRoutes(x.route, y.route), cmp.Compare(x.port, y.port)) })
	}
	out := make([]*mesh.Route, len(all))
	for i, r := range all {
		with := *r.route
		with.Match.Headers = slices.Concat(with.Match.Headers, told)
		if len(ports) > 1 {
			port := strconv.FormatUint(uint64(r.port), 10)
			with.Match.Headers = append(with.Match.Headers, mesh.ValueMatch{Name: portHeader, Kind: mesh.Exact, Value: port})
		}
		out[i] = &with
	}
	return out
}

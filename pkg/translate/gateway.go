package translate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// The headers by which the first hop tells the second what it decided. They never leave the proxy, and what a client sends in
// them is removed.
const (
	serviceHeader = "x-app-mesh-virtual-service"
	portHeader    = "x-app-mesh-virtual-service-port"
)

func helperHeaders() []string { return []string{serviceHeader, portHeader} }

// entrances adds the listeners of a gateway, and per listener the first hop's route configuration and the cluster that leads to
// the second hop.
func (b *builder) entrances() error {
	w := b.g.Workload
	for i, l := range w.Listeners {
		in := &listenerInput{
			Name: fmt.Sprintf("lds_ingress_0.0.0.0_%d", l.Port), StatPrefix: fmt.Sprintf("0.0.0.0_%d", l.Port), Port: l.Port,
			Direct: true, Profile: bindProfile(b.g.Profile), AccessLog: w.AccessLog,
			Chains: []chain{{
				Name: fmt.Sprintf("ingress_%s_%d", l.Protocol, l.Port), Port: l.Port, StatPrefix: inboundStatPrefix(w, l),
				Routes: inboundRoutes(l), HTTP: w.HTTP, Edge: true, TrustedHops: w.Gateway.TrustedHops, Draining: b.g.Profile.Draining,
				TLS: l.TLS, Socket: b.g.Profile.SDS,
			}},
		}
		if err := b.listener(in); err != nil {
			return err
		}
		self := struct {
			Name, Address string
			Protocol      mesh.Protocol
			Pool          mesh.Pool
			HTTP          mesh.HTTPOptions
		}{selfRedirectCluster(w, l), "127.0.0.1", l.Protocol, l.Pool, w.HTTP}
		if !b.g.Profile.IPv4 {
			self.Address = "::1"
		}
		if err := b.leaf("self redirect", &self, func() (*xds.Resource, error) {
			return loopbackCluster(self.Name, self.Protocol, self.Pool, self.HTTP, toSecondHop, mesh.Endpoint{Address: self.Address, Port: outboundPort})
		}); err != nil {
			return err
		}
		first := struct {
			Name, Cluster string
			Upgrades      bool
			Hosts         []*mesh.GatewayHost
		}{inboundRoutes(l), self.Name, l.Protocol == mesh.HTTP, w.Gateway.Entrances[i].Hosts}
		if err := b.add(mesh.Combine("entrance", mesh.Fingerprint(&first)), func() made {
			return firstHop(first.Name, first.Cluster, first.Upgrades, first.Hosts)
		}); err != nil {
			return err
		}
	}
	return nil
}

// EntranceHost is the name of the virtual host of a gateway's host.
func EntranceHost(h *mesh.GatewayHost) string {
	if h.Domains[0] == anyDomain {
		return entranceHost
	}
	return HostName(h.Domains[0])
}

// anyDomain is the domain of hosts that nothing else matches.
const anyDomain = "*"

// firstHop returns the route configuration that chooses the service. It passes upgrades on if the second hop is reached by HTTP/1,
// where they have a connection of their own; the second hop decides by its routes.
func firstHop(name, cluster string, upgrades bool, hosts []*mesh.GatewayHost) made {
	list := newHostList(&routev3.RouteConfiguration{Name: name, IgnorePortInHostMatching: true})
	for _, h := range hosts {
		var routes routeList
		var owner mesh.Object
		for _, r := range h.Routes {
			owner = r.Object // the last one is the least specific: it brought the host
			for _, er := range gatewayRoutes(r, h.Shared, cluster, upgrades) {
				routes.add(r.Object, er, []string{cluster}, nil)
			}
		}
		list.add(owner, &routev3.VirtualHost{Name: EntranceHost(h), Domains: h.Domains, Routes: routes.routes}, routes)
	}
	return list.made()
}

// gatewayRoutes returns the Envoy routes of one gateway route: two where a prefix without a final slash is replaced, because
// /paths/red becomes /red and /paths becomes /.
func gatewayRoutes(r *mesh.GatewayRoute, shared bool, cluster string, upgrades bool) []*routev3.Route {
	match := r.Match
	if shared && len(r.Domains) > 0 {
		match.Headers = append([]mesh.ValueMatch{{Name: ":authority", Kind: mesh.Regex, Value: authorities(r.Domains)}}, match.Headers...)
	}
	if r.Prefix == "" || strings.HasSuffix(match.Path, "/") {
		return []*routev3.Route{gatewayRoute(r, match, cluster, upgrades)}
	}
	below := match
	below.Path += "/"
	return []*routev3.Route{gatewayRoute(r, below, cluster, upgrades), gatewayRoute(r, match, cluster, upgrades)}
}

// authorities returns the expression that a request's authority matches exactly when Envoy would find one of the domains for it while
// it ignores ports: it compares without case, and cuts off what follows the last colon unless that stands in brackets.
func authorities(domains []string) string {
	const port = `:[^:\]]*`
	alternatives := make([]string, len(domains))
	for i, d := range domains {
		end, wild := strings.CutPrefix(d, "*")
		alternatives[i] = regexp.QuoteMeta(end)
		if wild {
			alternatives[i] = ".+" + alternatives[i]
		}
		if strings.LastIndexByte(end, ':') > strings.LastIndexByte(end, ']') {
			alternatives[i] += port // else Envoy would cut off a part of the domain itself
		} else {
			alternatives[i] += "(" + port + ")?"
		}
	}
	return "(?i)" + strings.Join(alternatives, "|")
}

func gatewayRoute(r *mesh.GatewayRoute, m mesh.Match, cluster string, upgrades bool) *routev3.Route {
	a := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}, PrefixRewrite: r.Prefix}
	if r.Path != "" {
		rewritePath(a, m.PathKind, r.Path)
	}
	setTimeouts(a, r.Timeout)
	if upgrades {
		a.UpgradeConfigs = webSocket()
	}
	out := &routev3.Route{
		Name: r.Name, Match: routeMatch(m), Action: &routev3.Route_Route{Route: a},
		RequestHeadersToRemove: helperHeaders(),
	}
	set := func(key, value string) {
		out.RequestHeadersToAdd = append(out.RequestHeadersToAdd, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: key, Value: value}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	if r.KeepHost {
		// Envoy's format operators begin with a percent sign, which stands for itself when doubled.
		set(serviceHeader, strings.ReplaceAll(r.Service.Name, "%", "%%"))
	} else {
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: r.Service.Name}
	}
	if r.TargetPort != 0 {
		set(portHeader, strconv.Itoa(int(r.TargetPort)))
	}
	return out
}

// rewritePath replaces the whole path and keeps the query. On routes that match the whole path Envoy's prefix rewrite does so.
func rewritePath(a *routev3.RouteAction, kind mesh.PathKind, path string) {
	if kind != mesh.PathPrefix {
		a.PrefixRewrite = path
		return
	}
	a.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
		Pattern:      &matcherv3.RegexMatcher{Regex: "^.*$"},
		Substitution: strings.ReplaceAll(path, `\`, `\\`),
	}
}

// secondHop adds the listener that the first hop leads to, on loopback only so that nobody can pass gateway routes by, and its
// route configuration.
func (b *builder) secondHop() error {
	w := b.g.Workload
	name := fmt.Sprintf("rds_egress_%s_%d", w.Gateway.Protocol, outboundPort)
	in := &listenerInput{
		Name: outboundListener, StatPrefix: outboundStats, Port: outboundPort, Outbound: true,
		Direct: true, Profile: bindProfile(b.g.Profile), AccessLog: w.AccessLog,
		Chains: []chain{{
			Name: fmt.Sprintf("egress_%s_%d", w.Gateway.Protocol, outboundPort), Port: outboundPort, StatPrefix: "egress", Routes: name,
			HTTP: w.HTTP, Hops: 1,
		}},
	}
	if err := b.listener(in); err != nil {
		return err
	}
	input := struct {
		Name     string
		Services []*mesh.GatewayService
	}{name, w.Gateway.Services}
	return b.add(mesh.Combine("second hop", mesh.Fingerprint(&input)), func() made { return secondHop(name, input.Services) })
}

// The routes told by header stand in the virtual host of every service, so together they may hold many more entries than there are
// routes. Beyond these bounds, as for hosts of entrances, one list serves all services.
const (
	repetitionFactor = 4
	repetitionFloor  = 1024
)

// secondHop returns the route configuration of all services. A service whose requests keep their host is told by header, which
// stands above the host in every virtual host: a client's host may equal the name of another service.
func secondHop(name string, services []*mesh.GatewayService) made {
	hosts := newHostList(&routev3.RouteConfiguration{Name: name, RequestHeadersToRemove: helperHeaders()})
	var byHeader routeList
	all := 0
	for _, s := range services {
		all += len(s.Routes) + 1
		if s.ByHeader {
			byHeader.join(toldRoutes(s, mesh.ValueMatch{Name: serviceHeader, Kind: mesh.Exact, Value: s.Service.Name}))
		}
	}
	if len(byHeader.routes)*len(services) > max(repetitionFloor, repetitionFactor*all) {
		for _, s := range services {
			byHeader.join(toldRoutes(s, mesh.ValueMatch{Name: ":authority", Kind: mesh.Exact, Value: s.Service.Name}))
		}
		services = nil
	}
	if len(byHeader.routes) > 0 {
		hosts.reserve(&routev3.VirtualHost{Name: headerHost, Domains: []string{anyDomain}, Routes: byHeader.routes}, byHeader.needs...)
		hosts.faults = append(hosts.faults, byHeader.faults...)
	}
	for _, s := range services {
		routes := serviceRoutes(s)
		hosts.add(s.Service.Object, &routev3.VirtualHost{
			Name: HostName(s.Service.Name), Domains: []string{s.Service.Name}, Routes: append(slices.Clone(byHeader.routes), routes.routes...),
		}, routes)
	}
	return hosts.made()
}

// toldRoutes returns the routes of a service for the requests that told describes, and one that answers 404 to the rest of these.
func toldRoutes(s *mesh.GatewayService, told mesh.ValueMatch) routeList {
	out := serviceRoutes(s, told)
	out.add(s.Service.Object, &routev3.Route{
		Match:  routeMatch(mesh.Match{Path: "/", Headers: []mesh.ValueMatch{told}}),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
	}, nil, nil)
	return out
}

// serviceRoutes returns the routes of a service with further headers to match.
func serviceRoutes(s *mesh.GatewayService, told ...mesh.ValueMatch) routeList {
	var out routeList
	for _, r := range s.Routes {
		with := *r.Route
		with.Match.Headers = append(slices.Clone(with.Match.Headers), told...)
		if r.Port != 0 {
			with.Match.Headers = append(with.Match.Headers, mesh.ValueMatch{Name: portHeader, Kind: mesh.Exact, Value: strconv.Itoa(int(r.Port))})
		}
		er, clusters, err := route(&with)
		out.add(r.Route.Object, er, clusters, err)
	}
	return out
}

// selfRedirectCluster names the cluster that leads from an entrance to the second hop.
func selfRedirectCluster(w *mesh.Workload, l *mesh.Listener) string {
	name := fmt.Sprintf("cds_ingress_%s_%s_self_redirect_", w.ID.Mesh, w.ID.Name)
	if len(w.Listeners) > 1 {
		name += fmt.Sprintf("%d_", l.Port)
	}
	return fmt.Sprintf("%s%s_%d", name, l.Protocol, outboundPort)
}

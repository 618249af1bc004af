package translate

import (
	"fmt"
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

// defaultBackend is the name App Mesh gave to the virtual host of services that are told by header.
const defaultBackend = "default_backend"

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
		if err := b.leaf("entrance", &first, func() (*xds.Resource, error) {
			return firstHop(first.Name, first.Cluster, first.Upgrades, first.Hosts)
		}); err != nil {
			return err
		}
	}
	return nil
}

// firstHop returns the route configuration that chooses the service. It passes upgrades on if the second hop is reached by HTTP/1,
// where they have a connection of their own; the second hop decides by its routes.
func firstHop(name, cluster string, upgrades bool, hosts []*mesh.GatewayHost) (*xds.Resource, error) {
	rc := &routev3.RouteConfiguration{Name: name, IgnorePortInHostMatching: true}
	for _, h := range hosts {
		vh := &routev3.VirtualHost{Name: h.Name, Domains: h.Domains}
		for _, r := range h.Routes {
			vh.Routes = append(vh.Routes, gatewayRoutes(r, cluster, upgrades)...)
		}
		rc.VirtualHosts = append(rc.VirtualHosts, vh)
	}
	if len(hosts) == 0 {
		return xds.NewResource(name, rc)
	}
	return xds.NewResource(name, rc, cluster)
}

// gatewayRoutes returns the Envoy routes of one gateway route: two where a prefix without a final slash is replaced, because
// /paths/red becomes /red and /paths becomes /.
func gatewayRoutes(r *mesh.GatewayRoute, cluster string, upgrades bool) []*routev3.Route {
	if r.Prefix == "" || strings.HasSuffix(r.Match.Path, "/") {
		return []*routev3.Route{gatewayRoute(r, r.Match, cluster, upgrades)}
	}
	below := r.Match
	below.Path += "/"
	return []*routev3.Route{gatewayRoute(r, below, cluster, upgrades), gatewayRoute(r, r.Match, cluster, upgrades)}
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
	return b.leaf("second hop", &input, func() (*xds.Resource, error) { return secondHop(name, input.Services) })
}

// secondHop returns the route configuration of all services. A service whose requests keep their host is told by header, which
// stands above the host in every virtual host: a client's host may equal the name of another service.
func secondHop(name string, services []*mesh.GatewayService) (*xds.Resource, error) {
	rc := &routev3.RouteConfiguration{Name: name, RequestHeadersToRemove: helperHeaders()}
	var byHeader []*routev3.Route
	var needs []string
	for _, s := range services {
		if !s.ByHeader {
			continue
		}
		told := mesh.ValueMatch{Name: serviceHeader, Kind: mesh.Exact, Value: s.Service.Name}
		routes, clusters, err := serviceRoutes(s, told)
		if err != nil {
			return nil, err
		}
		byHeader = append(append(byHeader, routes...), &routev3.Route{
			Match:  routeMatch(mesh.Match{Path: "/", Headers: []mesh.ValueMatch{told}}),
			Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}},
		})
		needs = append(needs, clusters...)
	}
	for _, s := range services {
		routes, clusters, err := serviceRoutes(s)
		if err != nil {
			return nil, err
		}
		rc.VirtualHosts = append(rc.VirtualHosts, &routev3.VirtualHost{
			Name: s.Service.Name, Domains: []string{s.Service.Name, fmt.Sprintf("%s:%d", s.Service.Name, outboundPort)},
			Routes: append(slices.Clone(byHeader), routes...),
		})
		needs = append(needs, clusters...)
	}
	if len(byHeader) > 0 {
		rc.VirtualHosts = append(rc.VirtualHosts, &routev3.VirtualHost{Name: defaultBackend, Domains: []string{"*"}, Routes: byHeader})
	}
	return xds.NewResource(name, rc, distinct(needs)...)
}

// serviceRoutes returns the routes of a service with further headers to match, and the clusters they need.
func serviceRoutes(s *mesh.GatewayService, told ...mesh.ValueMatch) ([]*routev3.Route, []string, error) {
	var out []*routev3.Route
	var needs []string
	for _, r := range s.Routes {
		with := *r.Route
		with.Match.Headers = append(slices.Clone(with.Match.Headers), told...)
		if r.Port != 0 {
			with.Match.Headers = append(with.Match.Headers, mesh.ValueMatch{Name: portHeader, Kind: mesh.Exact, Value: strconv.Itoa(int(r.Port))})
		}
		er, clusters, err := route(&with)
		if err != nil {
			return nil, nil, err
		}
		out, needs = append(out, er), append(needs, clusters...)
	}
	return out, needs, nil
}

// selfRedirectCluster names the cluster that leads from an entrance to the second hop.
func selfRedirectCluster(w *mesh.Workload, l *mesh.Listener) string {
	name := fmt.Sprintf("cds_ingress_%s_%s_self_redirect_", w.ID.Mesh, w.ID.Name)
	if len(w.Listeners) > 1 {
		name += fmt.Sprintf("%d_", l.Port)
	}
	return fmt.Sprintf("%s%s_%d", name, l.Protocol, outboundPort)
}

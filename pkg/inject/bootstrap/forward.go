package bootstrap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// PodIP is the pod's first address, the one that kubelet and Prometheus ask. Only containers with forwards define it.
const PodIP = "$(AFTERMESH_POD_IP)"

// Forward is one request that reaches the application from outside the pod without passing the listeners of its node.
// Nothing beside it does: another path, method or host gets 404.
type Forward struct {
	// Listen is the port of the pod that is asked, in HTTP/1.1 or HTTP/2.
	Listen  uint16
	Methods []string
	// Path and Host are what the request must have; an empty Host is the pod's address with Listen, and becomes its address
	// with Port on the way.
	Path, Host string
	// AnyQuery lets the request have a query, which is passed on; without it Path is all there may be.
	AnyQuery bool
	// Port of the application and the Target path there, which may have a query.
	Port   uint16
	Target string
	// HTTP2 and TLS are how the application speaks on Port. Its certificate is not verified, as kubelet does not verify it.
	HTTP2, TLS bool
	// Timeout of the whole request; zero leaves that to whoever asks.
	Timeout time.Duration
}

func (f Forward) cluster() string {
	name := "aftermesh-http1"
	if f.HTTP2 {
		name = "aftermesh-http2"
	}
	if f.TLS {
		name += "-tls"
	}
	return fmt.Sprintf("%s-%d", name, f.Port)
}

// addForwards adds a listener for each port that is asked and a cluster for each port and transport of the application.
func (w *writer) addForwards(b *bootstrapv3.Bootstrap) {
	clusters, byPort := map[string]bool{}, map[uint16][]Forward{}
	var ports []uint16
	for _, f := range w.settings.Forwards {
		if !clusters[f.cluster()] {
			clusters[f.cluster()] = true
			b.StaticResources.Clusters = append(b.StaticResources.Clusters, w.applicationCluster(f))
		}
		if byPort[f.Listen] == nil {
			ports = append(ports, f.Listen)
		}
		byPort[f.Listen] = append(byPort[f.Listen], f)
	}
	slices.Sort(ports)
	for _, port := range ports {
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, w.forwardListener(port, byPort[port]))
	}
}

// forwardListener is open as soon as Envoy has its first configuration.
func (w *writer) forwardListener(port uint16, forwards []Forward) *listenerv3.Listener {
	name := fmt.Sprintf("aftermesh_forward_%d", port)
	host := &routev3.VirtualHost{Name: name, Domains: []string{"*"}}
	for _, f := range forwards {
		for _, address := range w.hosts(f) {
			host.Routes = append(host.Routes, f.route(address))
		}
	}
	connections := &hcmv3.HttpConnectionManager{
		StatPrefix:                 name,
		GenerateRequestId:          wrapperspb.Bool(false),
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: w.any(&routerv3.Router{SuppressEnvoyHeaders: true, DynamicStats: wrapperspb.Bool(false)})},
		}},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name: name, VirtualHosts: []*routev3.VirtualHost{host},
		}},
	}
	return &listenerv3.Listener{
		Name: name, Address: w.anyAddress(port),
		// An overloaded proxy must not make kubelet restart the application.
		IgnoreGlobalConnLimit: true,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: w.any(connections)},
		}}}},
	}
}

// podHost is an address of the pod without port as it stands in a Host header.
type podHost string

// hosts are the forms in which the host of a request may be written. The empty one stands for the forward's own.
func (w *writer) hosts(f Forward) []podHost {
	switch {
	case f.Host != "":
		return []podHost{""}
	case w.settings.IPFamilies == "6":
		return []podHost{"[" + PodIP + "]"}
	case w.settings.IPFamilies == "46":
		return []podHost{PodIP, "[" + PodIP + "]"}
	default:
		return []podHost{PodIP}
	}
}

func (h podHost) port(n uint16) string { return fmt.Sprintf("%s:%d", h, n) }

func (f Forward) route(address podHost) *routev3.Route {
	headers := []*routev3.HeaderMatcher{
		header(":method", &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: strings.Join(f.Methods, "|")}}}),
	}
	if !f.AnyQuery {
		headers = append(headers, header(":path", exact(f.Path)))
	}
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: f.cluster()},
		PrefixRewrite:    f.Target,
		Timeout:          duration(f.Timeout),
	}
	if address == "" {
		headers = append(headers, header(":authority", exact(f.Host)))
	} else {
		headers = append(headers, header(":authority", exact(address.port(f.Listen))))
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: address.port(f.Port)}
	}
	return &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: f.Path}, Headers: headers},
		Action: &routev3.Route_Route{Route: action},
		// Nobody could follow a redirection: its target is not forwarded. Without one kubelet takes it for a good answer.
		ResponseHeadersToRemove: []string{"location"},
	}
}

func header(name string, m *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: m}}
}

// applicationCluster is a port of the application. Every request has a connection of its own, as kubelet's have: whether one
// can be made is part of what is asked.
func (w *writer) applicationCluster(f Forward) *clusterv3.Cluster {
	host := "127.0.0.1"
	if w.settings.IPFamilies == "6" {
		host = "::1"
	}
	options := &httpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{MaxRequestsPerConnection: wrapperspb.UInt32(1)},
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
		}},
	}
	if f.HTTP2 {
		options.UpstreamProtocolOptions = http2Options(&corev3.Http2ProtocolOptions{})
	}
	name := f.cluster()
	cluster := &clusterv3.Cluster{
		Name:                          name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:                duration(connectTimeout),
		LoadAssignment:                assignment(name, socketAddress(host, f.Port, corev3.SocketAddress_TCP)),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{protocolOptions: w.any(options)},
	}
	if f.TLS {
		context := &tlsv3.CommonTlsContext{TlsParams: &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3}}
		if f.HTTP2 {
			context.AlpnProtocols = []string{"h2"}
		}
		cluster.TransportSocket = &corev3.TransportSocket{
			Name:       "envoy.transport_sockets.tls",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: w.any(&tlsv3.UpstreamTlsContext{CommonTlsContext: context})},
		}
	}
	return cluster
}

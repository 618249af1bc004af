package translate

import (
	"fmt"
	"slices"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// chain is the input of one filter chain: what it matches and where it leads. Exactly one of Routes and Clusters is set.
type chain struct {
	Name string
	// Port is the original destination port; 0 matches every port.
	Port      uint32
	Addresses []string
	// ServerNames restrict the chain to TLS connections for these names.
	ServerNames []string
	StatPrefix  string
	// Routes names a route configuration and makes the chain speak HTTP as HTTP says.
	Routes string
	HTTP   mesh.HTTPOptions
	// Inbound chains lead to the application of the pod. Hops is how many proxies of the mesh a request may have passed before.
	Inbound bool
	Hops    uint32
	// Edge chains take requests from outside the mesh; TrustedHops is how many proxies in front of it are believed.
	Edge        bool
	TrustedHops uint32
	// Draining chains close each HTTP connection after one request.
	Draining bool
	// TLS encrypts the chain; a permissive one becomes two chains. Socket says whether the pod has a provider of secrets.
	TLS    *mesh.ServerTLS
	Socket bool
	// Clusters are the weighted targets of a TCP chain, of which Idle closes silent connections.
	Clusters []mesh.Target
	Idle     *time.Duration
}

// listenerInput is everything a listener is made from.
type listenerInput struct {
	Name, StatPrefix string
	Port             uint32
	Outbound         bool
	// Direct is true where connections are made to the listener itself; otherwise the redirect step sends them there.
	Direct    bool
	Profile   mesh.Profile
	AccessLog *mesh.AccessLog
	Chains    []chain
	// Default takes connections that no chain matches; nil closes them.
	Default *chain
}

// listener returns the resource made from in. It needs the clusters of its TCP chains.
func listener(in *listenerInput) (*xds.Resource, error) {
	l := &listenerv3.Listener{Name: in.Name, StatPrefix: in.StatPrefix, TrafficDirection: corev3.TrafficDirection_INBOUND}
	if in.Outbound {
		l.TrafficDirection = corev3.TrafficDirection_OUTBOUND
	}
	bind(l, in)
	filters, err := listenerFilters(in)
	if err != nil {
		return nil, err
	}
	l.ListenerFilters = filters
	l.ContinueOnListenerFiltersTimeout = len(filters) > 0
	logs, err := accessLogs(in.AccessLog)
	if err != nil {
		return nil, err
	}
	var needs []string
	for _, c := range in.Chains {
		list, err := filterChains(c, logs)
		if err != nil {
			return nil, err
		}
		l.FilterChains = append(l.FilterChains, list...)
		needs = append(needs, chainClusters(c)...)
	}
	if in.Default != nil {
		if l.DefaultFilterChain, err = filterChain(*in.Default, logs); err != nil {
			return nil, err
		}
		needs = append(needs, chainClusters(*in.Default)...)
	}
	slices.Sort(needs)
	return xds.NewResource(in.Name, l, slices.Compact(needs)...)
}

// bind sets the addresses. The outbound listener is on loopback only: redirected connections arrive there, and on any other
// address a stranger's single connection would make a pass-through proxy connect to itself for ever.
func bind(l *listenerv3.Listener, in *listenerInput) {
	p := in.Profile
	switch {
	case in.Outbound && p.IPv4 && p.IPv6:
		l.Address = socketAddress("127.0.0.1", in.Port)
		l.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: socketAddress("::1", in.Port)}}
	case in.Outbound && p.IPv6:
		l.Address = socketAddress("::1", in.Port)
	case in.Outbound:
		l.Address = socketAddress("127.0.0.1", in.Port)
	case p.IPv6:
		l.Address = socketAddress("::", in.Port)
		l.Address.GetSocketAddress().Ipv4Compat = p.IPv4
	default:
		l.Address = socketAddress("0.0.0.0", in.Port)
	}
}

// listenerFilters stay the same when chains change, as far as possible, because a change of them drains every connection. So the
// inspector, which tells TLS from clear text, is always there. It looks at no port on which it would hold a protocol in which the
// server speaks first: outbound at 443 only, inbound at all ports but clear or strict TCP ones.
func listenerFilters(in *listenerInput) ([]*listenerv3.ListenerFilter, error) {
	var filters []*listenerv3.ListenerFilter
	if !in.Direct {
		dst, err := pack(&originaldstv3.OriginalDst{})
		if err != nil {
			return nil, err
		}
		filters = append(filters, &listenerv3.ListenerFilter{
			Name:       "envoy.filters.listener.original_dst",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: dst},
		})
	}
	if in.Direct && in.Outbound {
		return nil, nil // only the proxy itself connects to it
	}
	inspector, err := pack(&inspectorv3.TlsInspector{})
	if err != nil {
		return nil, err
	}
	f := &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: inspector},
	}
	if in.Outbound {
		f.FilterDisabled = &listenerv3.ListenerFilterChainMatchPredicate{
			Rule: &listenerv3.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: onPort(httpsPort)},
		}
	} else {
		f.FilterDisabled = uninspected(in.Chains)
	}
	return append(filters, f), nil
}

// uninspected matches the ports of TCP chains that need not be told apart; nil if there are none.
func uninspected(chains []chain) *listenerv3.ListenerFilterChainMatchPredicate {
	var rules []*listenerv3.ListenerFilterChainMatchPredicate
	for _, c := range chains {
		if c.Routes == "" && (c.TLS == nil || !c.TLS.Permissive) {
			rules = append(rules, onPort(c.Port))
		}
	}
	switch len(rules) {
	case 0:
		return nil
	case 1:
		return rules[0]
	default:
		return &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_OrMatch{
			OrMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules},
		}}
	}
}

func onPort(port uint32) *listenerv3.ListenerFilterChainMatchPredicate {
	return &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
		DestinationPortRange: &typev3.Int32Range{Start: int32(port), End: int32(port) + 1},
	}}
}

const httpsPort = 443

// filterChains returns the chain, or the two of a permissive one: encrypted and clear.
func filterChains(c chain, logs []*accesslogv3.AccessLog) ([]*listenerv3.FilterChain, error) {
	clear, err := filterChain(c, logs)
	if err != nil || c.TLS == nil {
		return []*listenerv3.FilterChain{clear}, err
	}
	socket, err := downstreamTLS(c.TLS, c.Routes != "", c.Socket)
	if err != nil {
		return nil, err
	}
	if !c.TLS.Permissive {
		clear.TransportSocket = socket
		return []*listenerv3.FilterChain{clear}, nil
	}
	encrypted, ok := proto.Clone(clear).(*listenerv3.FilterChain)
	if !ok {
		return nil, fmt.Errorf("clone chain %s", c.Name)
	}
	encrypted.Name += "_tls"
	encrypted.FilterChainMatch.TransportProtocol, encrypted.TransportSocket = "tls", socket
	clear.FilterChainMatch.TransportProtocol = "raw_buffer"
	return []*listenerv3.FilterChain{encrypted, clear}, nil
}

func filterChain(c chain, logs []*accesslogv3.AccessLog) (*listenerv3.FilterChain, error) {
	fc := &listenerv3.FilterChain{Name: c.Name}
	if c.Port != 0 {
		fc.FilterChainMatch = &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(c.Port), ServerNames: c.ServerNames}
		for _, a := range c.Addresses {
			fc.FilterChainMatch.PrefixRanges = append(fc.FilterChainMatch.PrefixRanges, cidr(a))
		}
	}
	name, config := "envoy.filters.network.tcp_proxy", proto.Message(nil)
	var err error
	if c.Routes != "" {
		name = "envoy.filters.network.http_connection_manager"
		config, err = connectionManager(c, logs)
	} else {
		config = tcpProxy(c, logs)
	}
	if err != nil {
		return nil, err
	}
	typed, err := pack(config)
	if err != nil {
		return nil, fmt.Errorf("encode the filter of chain %s: %w", c.Name, err)
	}
	fc.Filters = []*listenerv3.Filter{{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed}}}
	return fc, nil
}

// chainClusters returns the defined clusters a TCP chain connects to; an HTTP chain states them in its routes.
func chainClusters(c chain) []string {
	var names []string
	for _, t := range c.Clusters {
		if t.Destination != nil {
			names = append(names, t.Cluster)
		}
	}
	return names
}

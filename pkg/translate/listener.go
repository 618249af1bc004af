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
	"google.golang.org/protobuf/types/known/anypb"
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
	// Routes names a route configuration and makes the chain speak HTTP; WebSocket upgrades are allowed if said so.
	Routes    string
	WebSocket bool
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
	if !in.Direct {
		filters, err := listenerFilters(in.Outbound)
		if err != nil {
			return nil, err
		}
		l.ListenerFilters = filters
		l.ContinueOnListenerFiltersTimeout = in.Outbound
	}
	logs, err := accessLogs(in.AccessLog)
	if err != nil {
		return nil, err
	}
	var needs []string
	for _, c := range in.Chains {
		fc, err := filterChain(c, logs)
		if err != nil {
			return nil, err
		}
		l.FilterChains = append(l.FilterChains, fc)
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

// listenerFilters are the same for the whole life of a proxy, because a change of them drains every connection. The inspector
// looks at port 443 only: elsewhere it would hold protocols in which the server speaks first.
func listenerFilters(outbound bool) ([]*listenerv3.ListenerFilter, error) {
	dst, err := anypb.New(&originaldstv3.OriginalDst{})
	if err != nil {
		return nil, err
	}
	filters := []*listenerv3.ListenerFilter{{
		Name:       "envoy.filters.listener.original_dst",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: dst},
	}}
	if !outbound {
		return filters, nil
	}
	inspector, err := anypb.New(&inspectorv3.TlsInspector{})
	if err != nil {
		return nil, err
	}
	https := &listenerv3.ListenerFilterChainMatchPredicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
		DestinationPortRange: &typev3.Int32Range{Start: httpsPort, End: httpsPort + 1},
	}}
	return append(filters, &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: inspector},
		FilterDisabled: &listenerv3.ListenerFilterChainMatchPredicate{
			Rule: &listenerv3.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: https},
		},
	}), nil
}

const httpsPort = 443

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
	typed, err := anypb.New(config)
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

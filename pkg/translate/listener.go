package translate

import (
	"fmt"
	"slices"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// listenerInput is everything a listener of Envoy is made from.
type listenerInput struct {
	Name, StatPrefix string
	Port             uint32
	// Pipe is the path of a socket in place of addresses with Port; connections come there from the proxy itself.
	Pipe     string
	Outbound bool
	// Direct is true where connections are made to the listener itself; otherwise the redirect step sends them there.
	Direct    bool
	Profile   mesh.Profile
	AccessLog *mesh.AccessLog
	HTTP      mesh.HTTPOptions
	// Listeners are those whose chains it has: the inspected ones at a pipe, else the others.
	Listeners []*mesh.Listener
}

// chain is one filter chain of it.
type chain struct {
	mesh.Chain
	in *listenerInput
	of *mesh.Listener
}

// isHTTP is true for a chain that speaks HTTP.
func (c chain) isHTTP() bool { return c.of.RouteConfiguration != "" }

// chains calls f with each chain, in order.
func (in *listenerInput) chains(f func(chain)) {
	for _, l := range in.Listeners {
		for _, c := range l.Chains {
			if c.Inspected == (in.Pipe != "") {
				f(chain{c, in, l})
			}
		}
	}
}

// listener returns the resource made from in, without the chains that Envoy would refuse it for. It needs the clusters of its TCP chains.
func listener(in *listenerInput) made {
	l := &listenerv3.Listener{Name: in.Name, StatPrefix: in.StatPrefix, TrafficDirection: corev3.TrafficDirection_INBOUND}
	if in.Outbound {
		l.TrafficDirection = corev3.TrafficDirection_OUTBOUND
	}
	bind(l, in)
	var faults []Fault
	filters, err := listenerFilters(in)
	if err != nil {
		return made{faults: []Fault{newFault(mesh.Object{}, in.Name, err)}}
	}
	l.ListenerFilters = filters
	l.ContinueOnListenerFiltersTimeout = len(filters) > 0
	logs, err := accessLogs(in.AccessLog)
	if err != nil {
		faults = append(faults, newFault(mesh.Object{}, "access log", err))
	}
	var needs []string
	taken := map[string]bool{}
	in.chains(func(c chain) {
		if err := addChain(l, c, logs, taken); err != nil {
			faults = append(faults, newFault(c.of.Object, "filter chain "+c.Name, err))
			return
		}
		needs = append(needs, targetClusters(c.of.Targets)...)
	})
	slices.Sort(needs)
	r, err := xds.NewResource(in.Name, l, slices.Compact(needs)...)
	if err != nil {
		faults = append(faults, newFault(mesh.Object{}, in.Name, err))
	}
	return made{r, faults}
}

// addChain adds the filter chains of c, or the one for connections that no other takes.
func addChain(l *listenerv3.Listener, c chain, logs []*accesslogv3.AccessLog, taken map[string]bool) error {
	if c.of.Silent {
		logs = nil
	}
	list, err := filterChains(c, logs)
	switch {
	case err != nil:
		return err
	case c.of.Port == 0:
		if l.DefaultFilterChain != nil {
			return fmt.Errorf("another chain takes the connections that no chain takes")
		}
		l.DefaultFilterChain = list[0]
		return nil
	}
	if err := claimMatches(taken, list); err != nil {
		return err
	}
	l.FilterChains = append(l.FilterChains, list...)
	return nil
}

// claimMatches takes what chains match. Envoy refuses a listener of which two chains match the same connections.
func claimMatches(taken map[string]bool, chains []*listenerv3.FilterChain) error {
	var keys []string
	for _, c := range chains {
		if err := validate(c); err != nil {
			return err
		}
		m := &listenerv3.FilterChainMatch{}
		proto.Merge(m, c.GetFilterChainMatch())
		names, ranges := orNone(m.ServerNames), orNone(m.PrefixRanges)
		for _, name := range names {
			for _, r := range ranges {
				m.ServerNames, m.PrefixRanges = []string{name}, []*corev3.CidrRange{r}
				if r == nil {
					m.PrefixRanges = nil
				}
				b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
				if err != nil {
					return err
				}
				if key := string(b); taken[key] || slices.Contains(keys, key) {
					return fmt.Errorf("another chain takes the same connections to port %d", m.GetDestinationPort().GetValue())
				}
				keys = append(keys, string(b))
			}
		}
	}
	for _, k := range keys {
		taken[k] = true
	}
	return nil
}

// orNone returns the list, or one zero element in place of none.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// bind sets the addresses. The outbound listener is on loopback only: redirected connections arrive there, and on any other
// address a stranger's single connection would make a pass-through proxy connect to itself endlessly.
func bind(l *listenerv3.Listener, in *listenerInput) {
	p := in.Profile
	switch {
	case in.Pipe != "":
		l.Address = pipeAddress(in.Pipe)
		l.EnableReusePort = wrapperspb.Bool(false) // pipes have none
		l.ListenerFiltersTimeout = durationpb.New(inspectTimeout)
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
	if in.Pipe != "" {
		return inspectingFilters()
	}
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
		f.FilterDisabled = uninspected(in)
	}
	return append(filters, f), nil
}

// inspectingFilters restore the addresses of a connection and look for TLS, then for HTTP.
func inspectingFilters() ([]*listenerv3.ListenerFilter, error) {
	var filters []*listenerv3.ListenerFilter
	for _, f := range []struct {
		name   string
		config proto.Message
	}{
		{"envoy.filters.listener.proxy_protocol", &proxyprotocolv3.ProxyProtocol{}},
		{"envoy.filters.listener.tls_inspector", &inspectorv3.TlsInspector{}},
		{"envoy.filters.listener.http_inspector", &httpinspectorv3.HttpInspector{}},
	} {
		typed, err := pack(f.config)
		if err != nil {
			return nil, err
		}
		filters = append(filters, &listenerv3.ListenerFilter{Name: f.name, ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: typed}})
	}
	return filters, nil
}

// uninspected matches the ports of TCP chains that need not be told apart; nil if there are none.
func uninspected(in *listenerInput) *listenerv3.ListenerFilterChainMatchPredicate {
	var rules []*listenerv3.ListenerFilterChainMatchPredicate
	in.chains(func(c chain) {
		if !c.isHTTP() && (c.of.TLS == nil || !c.of.TLS.Permissive) {
			rules = append(rules, onPort(c.of.Port))
		}
	})
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

// inspectTimeout is how long a client may take until its first bytes. One that waits for the server to speak is passed on then, as one
// of which nothing is known.
const inspectTimeout = time.Second

// What listeners tell apart.
const (
	transportTLS   = "tls"
	transportClear = "raw_buffer"
)

// httpProtocols are what the HTTP inspector sets.
var httpProtocols = []string{"http/1.0", "http/1.1", "h2c"}

// filterChains returns the chain, or the two of a permissive one: encrypted and clear.
func filterChains(c chain, logs []*accesslogv3.AccessLog) ([]*listenerv3.FilterChain, error) {
	clear, err := filterChain(c, logs)
	if err != nil || c.of.TLS == nil {
		return []*listenerv3.FilterChain{clear}, err
	}
	socket, err := downstreamTLS(c.of.TLS, c.isHTTP(), c.in.Profile.SDS)
	if err != nil {
		return nil, err
	}
	if !c.of.TLS.Permissive {
		clear.TransportSocket = socket
		return []*listenerv3.FilterChain{clear}, nil
	}
	encrypted, ok := proto.Clone(clear).(*listenerv3.FilterChain)
	if !ok {
		return nil, fmt.Errorf("clone chain %s", c.Name)
	}
	encrypted.Name += "_tls"
	encrypted.FilterChainMatch.TransportProtocol, encrypted.TransportSocket = transportTLS, socket
	clear.FilterChainMatch.TransportProtocol = transportClear
	return []*listenerv3.FilterChain{encrypted, clear}, nil
}

// filterChainMatch is nil for the chain that takes what no other one does.
func filterChainMatch(c chain) *listenerv3.FilterChainMatch {
	if c.of.Port == 0 {
		return nil
	}
	m := &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(c.of.Port), ServerNames: c.ServerNames}
	switch c.Opening {
	case mesh.Anything:
	case mesh.Encrypted:
		m.TransportProtocol = transportTLS
	case mesh.ClearText:
		m.TransportProtocol = transportClear
	case mesh.ClearHTTP:
		// Clear text in any case: a TLS client that offers http/1.1 by ALPN would look like HTTP too.
		m.TransportProtocol, m.ApplicationProtocols = transportClear, httpProtocols
	}
	for _, a := range c.Addresses {
		m.PrefixRanges = append(m.PrefixRanges, cidr(a))
	}
	return m
}

func filterChain(c chain, logs []*accesslogv3.AccessLog) (*listenerv3.FilterChain, error) {
	name, config := "envoy.filters.network.tcp_proxy", proto.Message(nil)
	var err error
	if c.isHTTP() {
		name = "envoy.filters.network.http_connection_manager"
		config, err = connectionManager(c, logs)
	} else {
		config = tcpProxy(c.of, logs)
	}
	if err != nil {
		return nil, err
	}
	typed, err := pack(config)
	if err != nil {
		return nil, fmt.Errorf("encode the filter of chain %s: %w", c.Name, err)
	}
	return &listenerv3.FilterChain{
		Name: c.Name, FilterChainMatch: filterChainMatch(c),
		Filters: []*listenerv3.Filter{{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed}}},
	}, nil
}

// targetClusters returns the clusters of the targets that exist.
func targetClusters(targets []mesh.Target) []string {
	var names []string
	for _, t := range targets {
		if t.Destination != nil {
			names = append(names, t.Cluster)
		}
	}
	return names
}

package translate

import (
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

const (
	// hostSelectionAttempts is how often Envoy looks for a host that was not tried yet. Source: dumps of App Mesh's configuration.
	hostSelectionAttempts = 5
)

// virtualHost returns the host of one service on one port.
func virtualHost(s *mesh.Service, p *mesh.ServicePort) hostLeaf {
	domain := strings.TrimSuffix(s.Name, ".") // as the host is looked up
	leaf := hostLeaf{host: &routev3.VirtualHost{
		Name:    HostName(s.Name),
		Domains: []string{domain, domain + ":" + strconv.Itoa(int(p.Port))},
	}}
	for _, r := range p.Routes {
		er, clusters, err := route(r)
		leaf.routes.add(r.Object, er, clusters, err)
	}
	// The host is shared by all callers, so it is complete before they use it.
	leaf.host.Routes = leaf.routes.routes
	return leaf
}

// anyHost returns the virtual host that takes every request to one cluster, which speaks the protocol p.
func anyHost(name, cluster string, p mesh.Protocol, t mesh.Timeout) *routev3.VirtualHost {
	a := &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}
	setTimeouts(a, t)
	if p == mesh.HTTP {
		a.UpgradeConfigs = webSocket()
	}
	return &routev3.VirtualHost{
		Name: name, Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: a},
		}},
	}
}

// route returns one route and the clusters it sends traffic to. A route without a usable share answers 503 itself, so that
// its requests never fall through to a broader route.
func route(r *mesh.Route) (*routev3.Route, []string, error) {
	er := &routev3.Route{Name: r.Name, Match: routeMatch(r.Match)}
	needs := liveClusters(r.Targets)
	if len(needs) == 0 {
		er.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 503}}
		return er, nil, nil
	}
	a := &routev3.RouteAction{}
	if len(r.Targets) == 1 {
		a.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: r.Targets[0].Cluster}
	} else {
		w := &routev3.WeightedCluster{}
		for _, t := range r.Targets {
			w.Clusters = append(w.Clusters, &routev3.WeightedCluster_ClusterWeight{Name: t.Cluster, Weight: wrapperspb.UInt32(t.Weight)})
		}
		a.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: w}
	}
	setTimeouts(a, r.Timeout)
	if upgradable(r.Targets) {
		a.UpgradeConfigs = webSocket()
	}
	if r.Retry != nil {
		p, err := retryPolicy(r.Retry)
		if err != nil {
			return nil, nil, err
		}
		a.RetryPolicy = p
	}
	er.Action = &routev3.Route_Route{Route: a}
	return er, needs, nil
}

// webSocket allows this one upgrade. It belongs to routes all of whose clusters speak HTTP/1: there an upgraded connection is one of its
// own. Over HTTP/2 the other side may not know of upgrades, and ends the connection with all requests on it.
func webSocket() []*routev3.RouteAction_UpgradeConfig {
	return []*routev3.RouteAction_UpgradeConfig{{UpgradeType: "websocket"}}
}

// upgradable is true when every target that exists speaks HTTP/1.
func upgradable(targets []mesh.Target) bool {
	for _, t := range targets {
		if t.Destination != nil && t.Destination.Protocol != mesh.HTTP {
			return false
		}
	}
	return true
}

// liveClusters returns the clusters of the targets that exist, or none when no target that exists has any weight.
func liveClusters(targets []mesh.Target) []string {
	var names []string
	live := false
	for _, t := range targets {
		if t.Destination != nil {
			names = append(names, t.Cluster)
			live = live || t.Weight > 0
		}
	}
	if !live {
		return nil
	}
	return names
}

func setTimeouts(a *routev3.RouteAction, t mesh.Timeout) {
	a.Timeout = duration(t.PerRequest)
	a.IdleTimeout = duration(t.Idle)
}

// unlimitedTime is for requests that leave the mesh: how long they take is no business of ours.
func unlimitedTime() mesh.Timeout {
	var none time.Duration
	return mesh.Timeout{PerRequest: &none, Idle: &none}
}

func duration(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}

func retryPolicy(r *mesh.Retry) (*routev3.RetryPolicy, error) {
	previous, err := pack(&previousv3.PreviousHostsPredicate{})
	if err != nil {
		return nil, err
	}
	return &routev3.RetryPolicy{
		RetryOn:              strings.Join(r.On, ","),
		RetriableStatusCodes: r.StatusCodes,
		NumRetries:           wrapperspb.UInt32(r.Max),
		PerTryTimeout:        duration(r.PerTry),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previous},
		}},
		HostSelectionRetryMaxAttempts: hostSelectionAttempts,
	}, nil
}

// unreadRetry repeats requests that the application certainly has not seen: nothing of them was sent, or it refused the stream. So it
// is safe for every method.
func unreadRetry() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{RetryOn: "reset-before-request,refused-stream", NumRetries: wrapperspb.UInt32(1)}
}

func routeMatch(m mesh.Match) *routev3.RouteMatch {
	em := &routev3.RouteMatch{}
	switch m.PathKind {
	case mesh.PathExact:
		em.PathSpecifier = &routev3.RouteMatch_Path{Path: m.Path}
	case mesh.PathRegex:
		em.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: m.Path}}
	default:
		em.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: m.Path}
	}
	for _, h := range m.Headers {
		em.Headers = append(em.Headers, headerMatch(h))
	}
	for _, q := range m.Queries {
		em.QueryParameters = append(em.QueryParameters, queryMatch(q))
	}
	return em
}

func headerMatch(v mesh.ValueMatch) *routev3.HeaderMatcher {
	h := &routev3.HeaderMatcher{Name: v.Name, InvertMatch: v.Invert}
	switch v.Kind {
	case mesh.Present:
		h.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
	case mesh.Range:
		h.HeaderMatchSpecifier = &routev3.HeaderMatcher_RangeMatch{RangeMatch: &typev3.Int64Range{Start: v.Start, End: v.End}}
	default:
		h.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatch(v)}
	}
	return h
}

func queryMatch(v mesh.ValueMatch) *routev3.QueryParameterMatcher {
	q := &routev3.QueryParameterMatcher{Name: v.Name}
	if v.Kind == mesh.Present {
		q.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true}
	} else {
		q.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: stringMatch(v)}
	}
	return q
}

func stringMatch(v mesh.ValueMatch) *matcherv3.StringMatcher {
	switch v.Kind {
	case mesh.Prefix:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: v.Value}}
	case mesh.Suffix:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: v.Value}}
	case mesh.Regex:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: v.Value}}}
	default:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: v.Value}}
	}
}

// cidr returns the prefix that matches exactly one address.
func cidr(address string) *corev3.CidrRange {
	bits := uint32(32)
	if strings.Contains(address, ":") {
		bits = 128
	}
	return &corev3.CidrRange{AddressPrefix: address, PrefixLen: wrapperspb.UInt32(bits)}
}

package translate

import (
	"slices"
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

// routeConfiguration returns the resource of the given name.
func (t *Translator) routeConfiguration(name string, r *mesh.Routes) made {
	out := newHostList(&routev3.RouteConfiguration{
		Name: name, IgnorePortInHostMatching: r.IgnorePort,
		RequestHeadersToRemove: r.Request.Remove, RequestHeadersToAdd: setHeaders(r.Request.Set),
	})
	leaves := routeLeaves{}
	host := func(h *mesh.Host) *hostLeaf {
		leaf, _ := t.hosts.get(h.Fingerprint, func() (*hostLeaf, error) { return leaves.host(h) })
		return leaf
	}
	for _, h := range r.Hosts {
		if h.Object == (mesh.Object{}) {
			out.reserve(host(h))
		}
	}
	for _, h := range r.Hosts {
		if h.Object != (mesh.Object{}) {
			out.add(h.Object, host(h))
		}
	}
	return out.made()
}

// hostLeaf is a virtual host, with what its routes need and what is wrong with them.
type hostLeaf struct {
	host   *routev3.VirtualHost
	needs  []string
	faults []Fault
}

// routeLeaf is one route, with the clusters that it needs, or what is wrong with it.
type routeLeaf struct {
	route *routev3.Route
	needs []string
	err   error
}

// routeLeaves are the routes of one configuration, in which hosts may share them.
type routeLeaves map[*mesh.Route]routeLeaf

// host returns a host without the routes that Envoy would refuse.
func (l routeLeaves) host(h *mesh.Host) (*hostLeaf, error) {
	out := &hostLeaf{host: &routev3.VirtualHost{Name: h.Name, Domains: h.Domains}}
	for _, r := range h.Routes {
		leaf, known := l[r]
		if !known {
			leaf.route, leaf.needs, leaf.err = route(r)
			if leaf.err == nil {
				leaf.err = validate(leaf.route)
			}
			l[r] = leaf
		}
		if leaf.err != nil {
			out.faults = append(out.faults, newFault(r.Object, "route "+r.Name, leaf.err))
			continue
		}
		out.host.Routes, out.needs = append(out.host.Routes, leaf.route), append(out.needs, leaf.needs...)
	}
	if h.Retry != nil {
		p, err := retryPolicy(h.Retry)
		if err != nil {
			out.faults = append(out.faults, newFault(h.Object, "virtual host "+h.Name, err))
		}
		out.host.RetryPolicy = p
	}
	return out, nil
}

// route returns one route and the clusters it sends traffic to. A route without a usable share answers 503 itself, so that
// its requests never fall through to a broader route.
func route(r *mesh.Route) (*routev3.Route, []string, error) {
	er := &routev3.Route{
		Name: r.Name, Match: routeMatch(r.Match),
		RequestHeadersToRemove: r.Request.Remove, RequestHeadersToAdd: setHeaders(r.Request.Set),
	}
	if r.Respond != nil {
		er.Action = respond(r.Respond.Status)
		return er, nil, nil
	}
	needs := liveClusters(r.Targets)
	if len(needs) == 0 {
		const unavailable = 503
		er.Action = respond(unavailable)
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
	rewrite(a, r)
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

func respond(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

func setHeaders(list []mesh.Header) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	for _, h := range list {
		out = append(out, &corev3.HeaderValueOption{
			// Envoy's format operators begin with a percent sign, which stands for itself when doubled.
			Header:       &corev3.HeaderValue{Key: h.Name, Value: strings.ReplaceAll(h.Value, "%", "%%")},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return out
}

// rewrite changes the host and the path. The whole path is replaced without its query; on routes that match the whole path Envoy's prefix
// rewrite does so.
func rewrite(a *routev3.RouteAction, r *mesh.Route) {
	w := r.Rewrite
	if w == nil {
		return
	}
	if w.Host != "" {
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: w.Host}
	}
	a.PrefixRewrite = w.Prefix
	switch {
	case w.Path == "":
	case r.Match.PathKind != mesh.PathPrefix:
		a.PrefixRewrite = w.Path
	default:
		a.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
			Pattern:      &matcherv3.RegexMatcher{Regex: "^.*$"},
			Substitution: strings.ReplaceAll(w.Path, `\`, `\\`),
		}
	}
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
	if !slices.ContainsFunc(targets, func(t mesh.Target) bool { return t.Destination != nil && t.Weight > 0 }) {
		return nil
	}
	return targetClusters(targets)
}

func setTimeouts(a *routev3.RouteAction, t mesh.Timeout) {
	a.Timeout = duration(t.PerRequest)
	a.IdleTimeout = duration(t.Idle)
}

func duration(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}

func retryPolicy(r *mesh.Retry) (*routev3.RetryPolicy, error) {
	p := &routev3.RetryPolicy{
		RetryOn:              strings.Join(r.On, ","),
		RetriableStatusCodes: r.StatusCodes,
		NumRetries:           wrapperspb.UInt32(r.Max),
		PerTryTimeout:        duration(r.PerTry),
	}
	if r.SameEndpoint {
		return p, nil
	}
	previous, err := pack(&previousv3.PreviousHostsPredicate{})
	if err != nil {
		return nil, err
	}
	p.RetryHostPredicate = []*routev3.RetryPolicy_RetryHostPredicate{{
		Name:       "envoy.retry_host_predicates.previous_hosts",
		ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previous},
	}}
	p.HostSelectionRetryMaxAttempts = hostSelectionAttempts
	return p, nil
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

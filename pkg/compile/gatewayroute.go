package compile

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// decodedGatewayRoute is a GatewayRoute with its kind taken apart.
type decodedGatewayRoute struct {
	self mesh.Object
	// field is the JSON name of the kind that is set, for paths.
	field    string
	protocol mesh.Protocol
	port     uint32
	host     hostPattern
	target   meshv1beta2.GatewayRouteTarget
	// keepHost leaves the request's host as it came; otherwise it becomes the service's name.
	keepHost bool
	// route has everything but what depends on the target.
	route *mesh.Route
}

// The headers by which the first hop tells the second what it decided. They never leave the proxy, and what a client sends in
// them is removed.
const (
	serviceHeader = "x-app-mesh-virtual-service"
	portHeader    = "x-app-mesh-virtual-service-port"
)

var helperHeaders = []string{serviceHeader, portHeader}

// lead makes the route tell the second hop that it leads to a service. port is that of a service that has several; 0 otherwise.
func (d *decodedGatewayRoute) lead(service string, port uint32) {
	d.route.Request.Remove = helperHeaders
	if d.keepHost {
		d.route.Request.Set = append(d.route.Request.Set, mesh.Header{Name: serviceHeader, Value: service})
	} else {
		d.route.Rewrite.Host = service
	}
	if port != 0 {
		d.route.Request.Set = append(d.route.Request.Set, mesh.Header{Name: portHeader, Value: strconv.FormatUint(uint64(port), 10)})
	}
}

// decodeGatewayRoute takes the one kind that is set apart. It is false when the route must be left out; what validate does not say
// is reported.
func (b *builder) decodeGatewayRoute(r *meshv1beta2.GatewayRoute) (decodedGatewayRoute, bool) {
	d := decodedGatewayRoute{self: input.ID(r)}
	d.route = &mesh.Route{Name: meshv1beta2.EffectiveName(r), Object: d.self, Priority: priority(r.Spec.Priority), Rewrite: &mesh.Rewrite{}}
	s := &r.Spec
	switch http, http2, grpc := s.HTTPRoute, s.HTTP2Route, s.GRPCRoute; {
	case http != nil && http2 == nil && grpc == nil:
		d.field, d.protocol = "httpRoute", mesh.HTTP
		return d, b.decodeHTTPGateway(&d, http)
	case http2 != nil && http == nil && grpc == nil:
		d.field, d.protocol = "http2Route", mesh.HTTP2
		return d, b.decodeHTTPGateway(&d, http2)
	case grpc != nil && http == nil && http2 == nil:
		d.field, d.protocol = "grpcRoute", mesh.GRPC
		return d, b.decodeGRPCGateway(&d, grpc)
	default:
		return d, false
	}
}

func (b *builder) decodeHTTPGateway(d *decodedGatewayRoute, r *meshv1beta2.HTTPGatewayRoute) bool {
	d.port, d.target = portNumber(r.Match.Port), r.Action.Target
	prefix := r.Match.Prefix
	if root := "/"; prefix == nil && r.Match.Path == nil && r.Match.Hostname != nil || prefix != nil && *prefix == "" {
		prefix = &root
	}
	s := source{name: d.route.Name, owner: d.self, path: "spec"}
	var ok bool
	d.route.Match, ok = b.httpMatch(s, "."+d.field+".match", httpCriteria{prefix: prefix, path: r.Match.Path,
		headers: r.Match.Headers, method: r.Match.Method, queries: r.Match.QueryParameters})
	if !ok || !b.hostname(d, r.Match.Hostname) {
		return false
	}
	rewrite := r.Action.Rewrite
	if rewrite == nil {
		rewrite = &meshv1beta2.HTTPGatewayRouteRewrite{}
	}
	d.keepHost = keepsHost(rewrite.Hostname)
	switch {
	case rewrite.Path != nil && rewrite.Prefix != nil:
		return false
	case rewrite.Path != nil:
		d.route.Rewrite.Path = value(rewrite.Path.Exact)
	case d.route.Match.PathKind == mesh.PathPrefix:
		d.route.Rewrite.Prefix = newPrefix(d.route.Match.Path, rewrite.Prefix)
	}
	return true
}

// newPrefix is what replaces the prefix that was matched: "/" unless the user said otherwise. It is empty when the path stays.
// Source: App Mesh user guide, gateway routes.
func newPrefix(matched string, r *meshv1beta2.GatewayRoutePrefixRewrite) string {
	out := "/"
	switch {
	case r != nil && r.Value != nil:
		out = *r.Value
	case r != nil && r.DefaultPrefix != nil && *r.DefaultPrefix == meshv1beta2.DefaultRewriteDisabled:
		return ""
	}
	if out == matched {
		return ""
	}
	return out
}

func keepsHost(r *meshv1beta2.GatewayRouteHostnameRewrite) bool {
	return r != nil && r.DefaultTargetHostname != nil && *r.DefaultTargetHostname == meshv1beta2.DefaultRewriteDisabled
}

func (b *builder) decodeGRPCGateway(d *decodedGatewayRoute, r *meshv1beta2.GRPCGatewayRoute) bool {
	d.port, d.target = portNumber(r.Match.Port), r.Action.Target
	d.route.Match.Path = "/"
	if service := value(r.Match.ServiceName); service != "" {
		d.route.Match.Path = "/" + service + "/"
	}
	s := source{name: d.route.Name, owner: d.self, path: "spec"}
	if !b.headers(s, ".grpcRoute.match.metadata", r.Match.Metadata, &d.route.Match) || !b.hostname(d, r.Match.Hostname) {
		return false
	}
	if r.Action.Rewrite != nil {
		d.keepHost = keepsHost(r.Action.Rewrite.Hostname)
	}
	return true
}

// hostPattern is the hosts that a route is for: one name, all names with an ending, or, if empty, all.
type hostPattern struct{ exact, suffix string }

// hostname decodes the host to match. It is false for one that Envoy would refuse together with all its neighbours.
func (b *builder) hostname(d *decodedGatewayRoute, h *meshv1beta2.HostnameMatch) bool {
	if h == nil {
		return true
	}
	if (h.Exact == nil) == (h.Suffix == nil) {
		return false
	}
	d.host = hostPattern{exact: strings.ToLower(value(h.Exact)), suffix: strings.TrimPrefix(strings.ToLower(value(h.Suffix)), "*")}
	for _, name := range []string{d.host.exact, d.host.suffix} {
		if strings.ContainsAny(name, "*/") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			b.problem(mesh.Problem{Object: d.self, Severity: mesh.Rejected, Reason: meshv1beta2.ReasonInvalidConfiguration, Path: "spec." + d.field + ".match.hostname",
				Message: fmt.Sprintf("the route is left out: %q is not a host name or the end of one; write the name in exact, or its end in suffix, without a wildcard or a slash and in its ASCII form", name)})
			return false
		}
	}
	return true
}

// compareHosts puts the more specific pattern first: a name before an ending, a longer ending before a shorter one, all hosts last.
func compareHosts(x, y hostPattern) int {
	named := func(h hostPattern) int { return map[bool]int{true: 0, false: 1}[h.exact != ""] }
	return cmp.Or(cmp.Compare(named(x), named(y)), cmp.Compare(len(y.suffix), len(x.suffix)))
}

// domains are what Envoy needs to know the hosts: a wildcard takes at least one character, so a name that is its own ending is
// stated too.
func (h hostPattern) domains() []string {
	switch {
	case h.exact != "":
		return []string{h.exact}
	case h.suffix == "":
		return []string{anyDomain}
	case strings.ContainsAny(h.suffix[:1], ".-"):
		return []string{"*" + h.suffix}
	default:
		return []string{h.suffix, "*" + h.suffix}
	}
}

package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func (j *judge) gatewayRoute(spec *field.Path, s *meshv1beta2.GatewayRouteSpec) {
	members := []member{{"grpcRoute", s.GRPCRoute != nil}, {"httpRoute", s.HTTPRoute != nil}, {"http2Route", s.HTTP2Route != nil}}
	switch names := given(members); len(names) {
	case 0:
		j.add("T2", spec, "none", "One of grpcRoute, httpRoute or http2Route must be specified; add the one of the gateway listener's protocol")
	case 1:
	default:
		j.add("T2", spec, names, "Only one of grpcRoute, httpRoute or http2Route may be specified, not %s; make a GatewayRoute of each", and(names))
	}
	j.httpGatewayRoute(spec.Child("httpRoute"), s.HTTPRoute)
	j.httpGatewayRoute(spec.Child("http2Route"), s.HTTP2Route)
	j.grpcGatewayRoute(spec.Child("grpcRoute"), s.GRPCRoute)
}

// gatewayPaths are the rules about paths of gateway routes.
var gatewayPaths = pathRules{
	missing: "T3", missingWords: "Either prefix or path or hostname must be specified",
	both: "T4", bothWords: "Both prefix and path cannot be specified. Only 1 allowed",
	path: "T5",
}

func (j *judge) httpGatewayRoute(path *field.Path, r *meshv1beta2.HTTPGatewayRoute) {
	if r == nil {
		return
	}
	match := path.Child("match")
	j.prefixOrPath(match, gatewayPaths, r.Match.Prefix, r.Match.Path, r.Match.Hostname != nil)
	j.hostname(match.Child("hostname"), r.Match.Hostname)
	j.valueMatches(match.Child("headers"), "T7", "header", r.Match.Headers)
	j.queryParameters(match.Child("queryParameters"), r.Match.QueryParameters)
	j.target(path.Child("action", "target"), &r.Action.Target)
	if r.Action.Rewrite != nil {
		j.rewrite(path.Child("action", "rewrite"), &r.Match, r.Action.Rewrite)
	}
}

func (j *judge) grpcGatewayRoute(path *field.Path, r *meshv1beta2.GRPCGatewayRoute) {
	if r == nil {
		return
	}
	match := path.Child("match")
	if r.Match.ServiceName == nil && r.Match.Hostname == nil {
		j.add("T13", match, "none", "Either serviceName or hostname must be specified; add the fully qualified name of the gRPC service, or a hostname")
	}
	j.hostname(match.Child("hostname"), r.Match.Hostname)
	j.valueMatches(match.Child("metadata"), "T15", "metadata", r.Match.Metadata)
	j.target(path.Child("action", "target"), &r.Action.Target)
}

func (j *judge) hostname(path *field.Path, h *meshv1beta2.HostnameMatch) {
	switch {
	case h == nil:
	case h.Exact == nil && h.Suffix == nil:
		j.add("T6", path, "none", "Either exact or suffix match for hostname must be specified; add one of them, or remove hostname")
	case h.Exact != nil && h.Suffix != nil:
		j.add("T6", path, *h.DeepCopy(), "Both exact and suffix match for hostname are not allowed. Only 1 allowed; remove %q or %q", *h.Exact, *h.Suffix)
	case h.Exact != nil:
		j.asciiHost(path.Child("exact"), *h.Exact)
	default:
		j.asciiHost(path.Child("suffix"), *h.Suffix)
	}
}

// asciiHost judges the characters of a host name: requests carry international names in their ASCII form only, and no certificate holds
// another one.
func (j *judge) asciiHost(path *field.Path, host string) {
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		j.add("X31", path, host, "%q has characters that no host name in a request or certificate can have; write the name in its ASCII form, which begins with xn--", host)
	}
}

func (j *judge) target(path *field.Path, t *meshv1beta2.GatewayRouteTarget) {
	v := &t.VirtualService
	j.reference(path.Child("virtualService"), meshv1beta2.ARNVirtualService, "U15", "X4", v.VirtualServiceRef, v.VirtualServiceARN)
}

func (j *judge) rewrite(path *field.Path, m *meshv1beta2.HTTPGatewayRouteMatch, r *meshv1beta2.HTTPGatewayRouteRewrite) {
	switch {
	case r.Prefix == nil && r.Path == nil && r.Hostname == nil:
		j.add("T9", path, "none", "Either prefix, path or hostname for rewrites must be specified; add one of them, or remove rewrite")
	case r.Prefix != nil && r.Path != nil:
		j.add("T10", path, *r.DeepCopy(), "Both prefix and path for rewrites cannot be specified. Only 1 allowed; remove one of them")
	}
	if r.Prefix != nil {
		j.prefixRewrite(path.Child("prefix"), m.Prefix, r.Prefix)
	}
	if r.Path != nil && m.Path == nil {
		j.add("X20", path.Child("path"), *r.Path.DeepCopy(), "there is no match.path, and the new path replaces the whole path of every request that matches; match on path")
	}
}

func (j *judge) prefixRewrite(path *field.Path, match *string, r *meshv1beta2.GatewayRoutePrefixRewrite) {
	switch {
	case match == nil:
		j.add("X20", path, *r.DeepCopy(), "there is no match.prefix to replace, and the rewrite is ignored; match on prefix, or remove the rewrite")
	case !strings.HasPrefix(*match, "/"):
		j.add("T11", path, *match, "Prefix to be matched on must start with '/' when it is rewritten, not %q; begin match.prefix with a slash", *match)
	}
	if r.DefaultPrefix != nil && r.Value != nil {
		j.add("T12", path, *r.DeepCopy(), "Both defaultPrefix and value for the prefix rewrite cannot be specified. Only 1 allowed; remove defaultPrefix, or value %q", *r.Value)
	}
	if r.Value != nil && (!strings.HasPrefix(*r.Value, "/") || !strings.HasSuffix(*r.Value, "/")) {
		j.add("T12", path.Child("value"), *r.Value, "the new prefix must start and end with '/', not %q; add the slash that is missing", *r.Value)
	}
}

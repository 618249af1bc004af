package compile

import (
	"fmt"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// decoded is a route with its kind taken apart.
type decoded struct {
	// field is the JSON name of the kind that is set, for paths.
	field    string
	protocol mesh.Protocol
	port     uint32
	match    mesh.Match
	targets  []meshv1beta2.WeightedTarget
	timeout  mesh.Timeout
	retry    *mesh.Retry
}

// decode takes the one kind that is set apart. It is false when the route must be left out; validate says why.
func (b *builder) decode(s source) (decoded, bool) {
	body := s.body
	set := 0
	for _, is := range []bool{body.HTTPRoute != nil, body.HTTP2Route != nil, body.GRPCRoute != nil, body.TCPRoute != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return decoded{}, false
	}
	switch {
	case body.HTTPRoute != nil:
		return b.decodeHTTP(s, "httpRoute", mesh.HTTP, body.HTTPRoute)
	case body.HTTP2Route != nil:
		return b.decodeHTTP(s, "http2Route", mesh.HTTP2, body.HTTP2Route)
	case body.GRPCRoute != nil:
		return b.decodeGRPC(s, body.GRPCRoute)
	default:
		return decodeTCP(body.TCPRoute), true
	}
}

// leftOut reports a route that is not served.
func (b *builder) leftOut(s source, path, why string) {
	b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Rejected, Partial: s.owner.Kind == "VirtualRouter",
		Reason: meshv1beta2.ReasonInvalidConfiguration, Path: s.path + path,
		Message: fmt.Sprintf("route %q is left out: %s", s.name, why)})
}

func (b *builder) decodeHTTP(s source, field string, p mesh.Protocol, r *meshv1beta2.HTTPRoute) (decoded, bool) {
	d := decoded{field: field, protocol: p, port: portNumber(r.Match.Port), targets: r.Action.WeightedTargets}
	var ok bool
	d.match, ok = b.httpMatch(s, "."+field+".match", httpCriteria{
		r.Match.Prefix, r.Match.Path, r.Match.Headers, r.Match.Method, r.Match.Scheme, r.Match.QueryParameters,
	})
	d.timeout = routeTimeout(r.Timeout)
	d.retry = httpRetry(r.RetryPolicy)
	return d, ok
}

// httpCriteria is what routes of routers and of gateways have in common.
type httpCriteria struct {
	prefix         *string
	path           *meshv1beta2.PathMatch
	headers        []meshv1beta2.HeaderMatch
	method, scheme *string
	queries        []meshv1beta2.QueryParameterMatch
}

// httpMatch decodes the criteria. It is false when the route must be left out; what validate does not say is reported.
func (b *builder) httpMatch(s source, at string, c httpCriteria) (mesh.Match, bool) {
	var m mesh.Match
	switch {
	case c.path != nil && c.prefix != nil:
		return m, false
	case c.path != nil && c.path.Exact != nil:
		m.PathKind, m.Path = mesh.PathExact, *c.path.Exact
	case c.path != nil && c.path.Regex != nil:
		m.PathKind, m.Path = mesh.PathRegex, *c.path.Regex
		if validate.Regex(m.Path) != nil {
			return m, false
		}
	case c.prefix != nil:
		m.Path = *c.prefix
	default:
		return m, false
	}
	if !b.headers(s, at+".headers", c.headers, &m) {
		return m, false
	}
	if v := value(c.method); v != "" {
		m.Headers = append(m.Headers, mesh.ValueMatch{Name: ":method", Kind: mesh.Exact, Value: v})
	}
	if v := value(c.scheme); v != "" {
		m.Headers = append(m.Headers, mesh.ValueMatch{Name: ":scheme", Kind: mesh.Exact, Value: v})
	}
	for i, q := range c.queries {
		if q.Name == "" {
			b.leftOut(s, fmt.Sprintf("%s.queryParameters[%d].name", at, i), "a query parameter needs a name")
			return m, false
		}
		qm := mesh.ValueMatch{Name: q.Name}
		if q.Match != nil && q.Match.Exact != nil {
			qm.Kind, qm.Value = mesh.Exact, *q.Match.Exact
		}
		m.Queries = append(m.Queries, qm)
	}
	return m, true
}

func (b *builder) decodeGRPC(s source, r *meshv1beta2.GRPCRoute) (decoded, bool) {
	d := decoded{field: "grpcRoute", protocol: mesh.GRPC, port: portNumber(r.Match.Port), targets: r.Action.WeightedTargets}
	service, method := value(r.Match.ServiceName), value(r.Match.MethodName)
	switch {
	case method != "" && service == "":
		return d, false
	case method != "":
		d.match.PathKind, d.match.Path = mesh.PathExact, "/"+service+"/"+method
	case service != "":
		d.match.Path = "/" + service + "/"
	default:
		d.match.Path = "/"
	}
	if !b.headers(s, ".grpcRoute.match.metadata", r.Match.Metadata, &d.match) {
		return d, false
	}
	d.timeout = routeTimeout(r.Timeout)
	d.retry = grpcRetry(r.RetryPolicy)
	return d, true
}

func decodeTCP(r *meshv1beta2.TCPRoute) decoded {
	d := decoded{field: "tcpRoute", protocol: mesh.TCP, targets: r.Action.WeightedTargets}
	if r.Match != nil {
		d.port = portNumber(r.Match.Port)
	}
	if r.Timeout != nil {
		d.timeout.Idle = span(r.Timeout.Idle)
	}
	return d
}

func portNumber(p *int64) uint32 {
	if p == nil || *p < 0 || *p > 65535 {
		return 0
	}
	return uint32(*p)
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// routeTimeout applies App Mesh's default of 15 seconds.
func routeTimeout(t *meshv1beta2.HTTPTimeout) mesh.Timeout {
	out := httpTimeout(t)
	if out.PerRequest == nil {
		d := requestTimeout
		out.PerRequest = &d
	}
	return out
}

// headers adds the matchers of headers or metadata keys. It is false when one of them makes the route unusable.
func (b *builder) headers(s source, path string, list []meshv1beta2.HeaderMatch, to *mesh.Match) bool {
	for i, h := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		name := strings.ToLower(strings.TrimSpace(h.Name))
		if name == "" {
			continue // reported by validate
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			b.leftOut(s, at+".name", fmt.Sprintf("%q is not the name of a header", h.Name))
			return false
		}
		m, ok := valueMatch(h.Match)
		if !ok {
			return false
		}
		m.Name, m.Invert = name, h.Invert != nil && *h.Invert
		to.Headers = append(to.Headers, m)
	}
	return true
}

// valueMatch decodes the union of ways to match a value. No match at all is a test for presence.
func valueMatch(v *meshv1beta2.ValueMatch) (mesh.ValueMatch, bool) {
	if v == nil {
		return mesh.ValueMatch{}, true
	}
	m, n := mesh.ValueMatch{}, 0
	for _, c := range []struct {
		value *string
		kind  mesh.MatchKind
	}{{v.Exact, mesh.Exact}, {v.Prefix, mesh.Prefix}, {v.Suffix, mesh.Suffix}, {v.Regex, mesh.Regex}} {
		if c.value != nil {
			m.Kind, m.Value = c.kind, *c.value
			n++
		}
	}
	if v.Range != nil {
		m.Kind, m.Start, m.End = mesh.Range, v.Range.Start, v.Range.End
		n++
	}
	switch {
	case n != 1 || m.Kind == mesh.Regex && validate.Regex(m.Value) != nil:
		return m, false
	case (m.Kind == mesh.Prefix || m.Kind == mesh.Suffix) && m.Value == "":
		// Envoy refuses an empty prefix; every value that is present has one.
		m.Kind = mesh.Present
	}
	return m, true
}

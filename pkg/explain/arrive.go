package explain

import (
	"fmt"
	"slices"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// methods are those that Envoy takes from clients of HTTP/1.
var methods = strings.Fields("ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH " +
	"M-SEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE")

// arrive does what a connection manager does with a request that it could decode before it looks for a route. A status other than 0 is
// its answer.
func arrive(m *hcmv3.HttpConnectionManager, r *Request) (status uint32, why string) {
	if r.Host == "" {
		return 400, "the request names no host"
	}
	if status, why = normalizePath(m, r); status != 0 {
		return status, why
	}
	if m.StripTrailingHostDot {
		r.Host = withoutTrailingDot(r.Host)
	}
	// How the request came, in the words of the last trusted proxy.
	proto, said := r.Headers["x-forwarded-proto"]
	if !said || m.GetUseRemoteAddress().GetValue() && m.XffNumTrustedHops == 0 {
		proto = "http"
		if r.Encrypted {
			proto = "https"
		}
		r.Headers["x-forwarded-proto"] = proto
	}
	if r.Protocol == "" {
		r.Protocol = "http"
		if l := strings.ToLower(proto); l == "http" || l == "https" {
			r.Protocol = l
		} else if r.Encrypted {
			r.Protocol = "https"
		}
	}
	return 0, ""
}

// decode judges what the codec of HTTP/1 refuses, before anything knows that a request is gRPC.
func decode(m *hcmv3.HttpConnectionManager, r *Request) (status uint32, why string) {
	if r.HTTP2 {
		return 0, ""
	}
	o := m.GetHttpProtocolOptions()
	if r.Version == "1.0" {
		if !o.GetAcceptHttp_10() {
			return 426, "HTTP/1.0 is refused by MeshSettings"
		}
		if r.Host == "" {
			r.Host = o.GetDefaultHostForHttp_10()
		}
	}
	if !slices.Contains(methods, r.Method) {
		return 400, fmt.Sprintf("the method %q is unknown", r.Method)
	}
	if strings.ContainsFunc(r.Host, func(c rune) bool { return !authorityRune(c) }) {
		return 400, fmt.Sprintf("the host %q has characters that a host cannot have", r.Host)
	}
	if !readable(r.Path) {
		return 400, fmt.Sprintf("the path %q has characters that must be escaped", r.Path)
	}
	if !strings.HasPrefix(r.Path, "/") && (r.Path != "*" || r.Method != "OPTIONS") && r.Method != "CONNECT" {
		return 400, fmt.Sprintf("the path %q does not begin with a slash", r.Path)
	}
	r.dropUpgrades(o.GetIgnoreHttp_11Upgrade())
	return 0, ""
}

// grpcStatus is the code by which callers of gRPC learn of an answer of the proxy itself.
func grpcStatus(status uint32) uint32 {
	switch status {
	case 400:
		return 13
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	default:
		return 2
	}
}

// readable is true for a path of printable ASCII characters.
func readable(path string) bool {
	return !strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}

// authorityRune is true for what may stand in a host: RFC 3986, authority.
func authorityRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~%!$&'()*+,;=:@[]", c)
}

// upgrade is the protocol that the request wants to go on with; empty for none.
func (r *Request) upgrade() string {
	for token := range strings.SplitSeq(r.Headers["connection"], ",") {
		if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
			return r.Headers["upgrade"]
		}
	}
	return ""
}

// dropUpgrades leaves out the upgrades that Envoy ignores: to HTTP/2, and those of its configuration.
func (r *Request) dropUpgrades(ignored []*matcherv3.StringMatcher) {
	wanted := r.upgrade()
	if wanted == "" {
		return
	}
	if strings.EqualFold(wanted, "h2c") {
		delete(r.Headers, "upgrade")
		delete(r.Headers, "http2-settings")
		return
	}
	var left []string
	for token := range strings.SplitSeq(wanted, ",") {
		token = strings.TrimSpace(token)
		if !slices.ContainsFunc(ignored, func(m *matcherv3.StringMatcher) bool {
			ok, _, err := matches(m, token)
			return ok && err == nil
		}) {
			left = append(left, token)
		}
	}
	if r.Headers["upgrade"] = strings.Join(left, ","); len(left) == 0 {
		delete(r.Headers, "upgrade")
	}
}

// withoutTrailingDot cuts off the dot that ends a fully qualified name, also before a port.
func withoutTrailingDot(host string) string {
	switch dot := strings.LastIndexByte(host, '.'); {
	case dot < 0:
		return host
	case dot == len(host)-1:
		return host[:dot]
	case host[dot+1] == ':':
		return host[:dot] + host[dot+1:]
	default:
		return host
	}
}

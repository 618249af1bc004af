package explain

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Request is what an application sends, or for a gateway what arrives from outside.
type Request struct {
	Method, Scheme string
	// Host is the authority as it stands in the request, Path the path with its query.
	Host, Path string
	// Port that was dialled, and the address if it is known; the zero address belongs to no prefix but the empty one.
	Port    uint32
	Address netip.Addr
	// Version of HTTP, "1.0" or "1.1" where empty; HTTP2 requests have none, and state their Protocol.
	Version string
	HTTP2   bool
	// Encrypted is true when the proxy ends TLS. Protocol is the scheme that routes compare: what the request itself states, else what
	// the proxy finds.
	Encrypted bool
	Protocol  string
	// Headers by lower-case name; several values of one name are joined by commas.
	Headers map[string]string
}

// NewRequest reads a request from a method, an absolute URL and headers in the form "name: value". A header named host replaces
// the authority. The schemes are http, https, grpc and tcp; the port is the URL's, else 80, for https 443.
func NewRequest(method, rawURL string, headers []string) (*Request, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the URL %q is not of the form http://host:port/path", rawURL)
	}
	r := &Request{Method: strings.ToUpper(method), Scheme: u.Scheme, Host: u.Host, Path: u.RequestURI(), Port: 80, Headers: map[string]string{}}
	switch u.Scheme {
	case "http", "tcp":
	case "https":
		r.Port = 443
	case "grpc":
		r.Headers["content-type"], r.HTTP2, r.Protocol = "application/grpc", true, "http"
	default:
		return nil, fmt.Errorf("the scheme %q of %q is none of http, https, grpc, tcp", u.Scheme, rawURL)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("the port %q of %q is not a number from 1 to 65535", p, rawURL)
		}
		r.Port = uint32(n)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		r.Address = a
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, fmt.Errorf("the header %q is not of the form 'name: value'", h)
		}
		r.Add(name, value)
	}
	return r, nil
}

// Add adds a header; one named host replaces the authority.
func (r *Request) Add(name, value string) {
	name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
	if name == "host" {
		r.Host = value
		return
	}
	if had, ok := r.Headers[name]; ok {
		value = had + "," + value
	}
	r.Headers[name] = value
}

// header returns a header's value, pseudo headers included.
func (r *Request) header(name string) (string, bool) {
	switch name = strings.ToLower(name); name {
	case ":method":
		return r.Method, true
	case ":path":
		return r.Path, true
	case ":authority", "host":
		return r.Host, true
	case ":scheme":
		return r.Protocol, true
	}
	v, ok := r.Headers[name]
	return v, ok
}

// query returns the first value of a query parameter as it is written.
func (r *Request) query(name string) (string, bool) {
	_, query, _ := strings.Cut(r.Path, "?")
	query, _, _ = strings.Cut(query, "#")
	for pair := range strings.SplitSeq(query, "&") {
		if k, v, _ := strings.Cut(pair, "="); k == name && pair != "" {
			return v, true
		}
	}
	return "", false
}

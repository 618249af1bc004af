package explain

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// chooseHost returns the virtual host of a request and the domain that matched: an exact name, else the longest "*suffix", else
// the longest "prefix*", else "*".
func chooseHost(rc *routev3.RouteConfiguration, host string) (*routev3.VirtualHost, string) {
	host = strings.ToLower(host)
	if rc.IgnorePortInHostMatching {
		host = withoutPort(host)
	}
	var found *routev3.VirtualHost
	var domain string
	class := 0
	for _, vh := range rc.VirtualHosts {
		for _, d := range vh.Domains {
			if c := domainClass(strings.ToLower(d), host); c > class || c == class && c > 0 && len(d) > len(domain) {
				found, domain, class = vh, d, c
			}
		}
	}
	return found, domain
}

// domainClass is 4 for an exact match, 3 for a suffix, 2 for a prefix, 1 for "*", and 0 for none.
func domainClass(domain, host string) int {
	suffix, leading := strings.CutPrefix(domain, "*")
	prefix, trailing := strings.CutSuffix(domain, "*")
	switch {
	case domain == "*":
		return 1
	case domain == host:
		return 4
	case leading && len(host) > len(suffix) && strings.HasSuffix(host, suffix):
		return 3
	case trailing && len(host) > len(prefix) && strings.HasPrefix(host, prefix):
		return 2
	default:
		return 0
	}
}

// withoutPort cuts off what follows the last colon, unless that stands in brackets.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') && i >= 0 {
		return host[:i]
	}
	return host
}

package explain

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// chooseChain returns the filter chain that Envoy picks for a connection, nil for none. Each step keeps the chains that are most
// specific in one criterion and never goes back: port, then address, then TLS server name, then transport, then application protocol.
func chooseChain(l *listenerv3.Listener, r *Request) (fc *listenerv3.FilterChain, byDefault bool) {
	left := l.FilterChains
	for _, rank := range []func(*listenerv3.FilterChainMatch, *Request) int{portRank, addressRank, nameRank, transportRank, protocolRank} {
		left = best(left, r, rank)
	}
	if len(left) == 0 {
		return l.DefaultFilterChain, true
	}
	return left[0], false
}

// best keeps the chains of the highest rank; a negative rank is no match.
func best(chains []*listenerv3.FilterChain, r *Request, rank func(*listenerv3.FilterChainMatch, *Request) int) []*listenerv3.FilterChain {
	var kept []*listenerv3.FilterChain
	highest := 0
	for _, c := range chains {
		n := rank(c.GetFilterChainMatch(), r)
		switch {
		case n < 0 || n < highest && kept != nil:
		case n > highest || kept == nil:
			kept, highest = []*listenerv3.FilterChain{c}, n
		default:
			kept = append(kept, c)
		}
	}
	return kept
}

func portRank(m *listenerv3.FilterChainMatch, r *Request) int {
	switch {
	case m.GetDestinationPort() == nil:
		return 0
	case m.GetDestinationPort().Value == r.Port:
		return 1
	default:
		return -1
	}
}

// addressRank is the length of the longest prefix that holds the address, plus one; no prefix at all holds every address.
func addressRank(m *listenerv3.FilterChainMatch, r *Request) int {
	if len(m.GetPrefixRanges()) == 0 {
		return 0
	}
	rank := -1
	for _, c := range m.GetPrefixRanges() {
		a, err := netip.ParseAddr(c.AddressPrefix)
		if err != nil || !r.Address.IsValid() {
			continue
		}
		if p := netip.PrefixFrom(a, int(c.GetPrefixLen().GetValue())); p.Contains(r.Address) {
			rank = max(rank, p.Bits()+1)
		}
	}
	return rank
}

func nameRank(m *listenerv3.FilterChainMatch, r *Request) int {
	if len(m.GetServerNames()) == 0 {
		return 0
	}
	if r.Scheme != "https" {
		return -1
	}
	rank, name := -1, strings.ToLower(hostOnly(r.Host))
	for _, want := range m.GetServerNames() {
		suffix, wild := strings.CutPrefix(want, "*")
		switch {
		case !wild && want == name:
			return len(name) + 1
		case wild && len(name) > len(suffix) && strings.HasSuffix(name, suffix):
			rank = max(rank, len(suffix))
		}
	}
	return rank
}

func transportRank(m *listenerv3.FilterChainMatch, r *Request) int {
	want := "raw_buffer"
	if r.Scheme == "https" {
		want = "tls"
	}
	switch m.GetTransportProtocol() {
	case "":
		return 0
	case want:
		return 1
	default:
		return -1
	}
}

// protocolRank compares what a listener sees in clear text; it never sees what TLS holds.
func protocolRank(m *listenerv3.FilterChainMatch, r *Request) int {
	wanted := m.GetApplicationProtocols()
	switch {
	case len(wanted) == 0:
		return 0
	case r.Scheme == "http" && !r.HTTP2 && !looksLikeHTTP(r):
		return -1
	case r.Scheme == "http" && slices.Contains(wanted, "http/1.1"), r.Scheme == "grpc" && slices.Contains(wanted, "h2c"):
		return 1
	default:
		return -1
	}
}

// looksLikeHTTP is true when a listener takes the first line of a request for one of HTTP/1, as Envoy 1.40 does. Envoy 1.37 also wants a
// method that it knows.
func looksLikeHTTP(r *Request) bool {
	return !strings.ContainsFunc(r.Path, func(c rune) bool { return c == ' ' || c >= utf8.RuneSelf }) && (strings.HasPrefix(r.Path, "/") || r.Path == "*" || r.Method == "CONNECT")
}

// hostOnly cuts a port off an authority.
func hostOnly(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") || strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
		return host
	}
	return host[:i]
}

package redirect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// skipPorts are the destination ports that are left alone: the configured ones and the fixed ones, sorted.
func (c Config) skipPorts() []uint16 {
	ports := slices.Concat(c.IgnoredPorts, alwaysIgnoredPorts)
	slices.Sort(ports)
	return slices.Compact(ports)
}

// span is a run of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

// skipSpans are the ignored destinations of one family as disjoint runs in rising order. Overlapping and adjoining
// prefixes are joined because the kernel refuses overlapping intervals in a set.
func (c Config) skipSpans(ipv6 bool) []span {
	var spans []span
	prefixes := slices.Clone(c.IgnoredIPs)
	slices.SortFunc(prefixes, comparePrefixes)
	for _, prefix := range prefixes {
		if prefix.Addr().Is6() != ipv6 {
			continue
		}
		next := span{prefix.Masked().Addr(), lastAddr(prefix)}
		if n := len(spans); n > 0 && !spans[n-1].before(next.first) {
			if spans[n-1].last.Less(next.last) {
				spans[n-1].last = next.last
			}
			continue
		}
		spans = append(spans, next)
	}
	return spans
}

// before reports whether a gap lies between the end of s and addr.
func (s span) before(addr netip.Addr) bool {
	next := s.last.Next()
	return next.IsValid() && next.Less(addr)
}

func (s span) String() string {
	if s.first == s.last {
		return s.first.String()
	}
	for bits := s.first.BitLen() - 1; bits >= 0; bits-- {
		prefix, err := s.first.Prefix(bits)
		if err != nil || prefix.Addr() != s.first {
			break
		}
		if lastAddr(prefix) == s.last {
			return prefix.String()
		}
	}
	return s.first.String() + "-" + s.last.String()
}

// lastAddr is the highest address of prefix.
func lastAddr(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Masked().Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// Rules is the table that Apply makes, in the language of nft, complete enough to be loaded by "nft -f". Sets and chains
// that would be empty are absent.
func (c Config) Rules() string {
	if !c.Enabled {
		return ""
	}
	var b strings.Builder
	family := ""
	if !c.IPv6 {
		family = "meta nfproto ipv4 "
	}
	fmt.Fprintf(&b, "table inet %s {\n", tableName)
	writeSet(&b, "app_ports", "type inet_service", c.AppPorts)
	writeSet(&b, "skip_ports", "type inet_service", c.skipPorts())
	writeSet(&b, "skip_v4", "type ipv4_addr; flags interval", c.skipSpans(false))
	if c.IPv6 {
		writeSet(&b, "skip_v6", "type ipv6_addr; flags interval", c.skipSpans(true))
	}
	if len(c.AppPorts) > 0 {
		b.WriteString("\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n")
		fmt.Fprintf(&b, "\t\t%sfib saddr type != local tcp dport @app_ports redirect to :%d\n\t}\n", family, c.InboundPort)
	}
	b.WriteString("\tchain output {\n\t\ttype nat hook output priority -100; policy accept;\n")
	fmt.Fprintf(&b, "\t\t%sfib daddr type != local meta l4proto tcp jump egress\n\t}\n", family)
	b.WriteString("\tchain egress {\n")
	if c.UID != nil {
		fmt.Fprintf(&b, "\t\tmeta skuid %d return\n", *c.UID)
	}
	if c.GID != nil {
		fmt.Fprintf(&b, "\t\tmeta skgid %d return\n", *c.GID)
	}
	b.WriteString("\t\ttcp dport @skip_ports return\n")
	if len(c.skipSpans(false)) > 0 {
		b.WriteString("\t\tip daddr @skip_v4 return\n")
	}
	if c.IPv6 && len(c.skipSpans(true)) > 0 {
		b.WriteString("\t\tip6 daddr @skip_v6 return\n")
	}
	fmt.Fprintf(&b, "\t\tmeta l4proto tcp redirect to :%d\n\t}\n}\n", c.OutboundPort)
	return b.String()
}

func writeSet[T any](b *strings.Builder, name, kind string, elements []T) {
	if len(elements) == 0 {
		return
	}
	fmt.Fprintf(b, "\tset %s { %s; elements = { %s } }\n", name, kind, join(elements))
}

func join[T any](elements []T) string {
	words := make([]string, len(elements))
	for i, element := range elements {
		words[i] = fmt.Sprint(element)
	}
	return strings.Join(words, ", ")
}

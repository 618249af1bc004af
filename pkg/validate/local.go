package validate

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// CallersOwn is true for hosts that mean the machine that asks for them, or what only it can reach, whoever asks: loopback, unspecified,
// link-local, multicast and broadcast addresses, the metadata services of clouds, and the names of these. A node that is found there
// would be its callers' own pod, with the admin port of its proxy.
//
// All forms that a resolver takes for such an address are understood: IPv4 in IPv6, with brackets or a zone, and fewer than four,
// octal or hexadecimal numbers. What another name resolves to cannot be known here.
func CallersOwn(host string) bool {
	host = strings.TrimRight(strings.ToLower(host), ".")
	host, _, _ = strings.Cut(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "%")
	if a, ok := address(host); ok {
		return callersOwnAddress(a)
	}
	return slices.ContainsFunc(callersOwnNames, func(name string) bool { return host == name || strings.HasSuffix(host, "."+name) })
}

// callersOwnNames are names of loopback in every pod's /etc/hosts and by RFC 6761, and those of the metadata services.
var callersOwnNames = []string{
	"localhost", "localhost.localdomain", "localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6",
	"ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters",
	"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal", "metadata.azure.internal", "metadata.tencentyun.com",
}

// callersOwnPrefixes are special addresses that netip has no word for.
var callersOwnPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("255.255.255.255/32"),
	// Metadata services outside of the link-local range: AWS (IPv6), Azure, Alibaba, Oracle, Google (IPv6).
	netip.MustParsePrefix("fd00:ec2::/32"), netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("192.0.0.192/32"), netip.MustParsePrefix("fd20:ce::254/128"),
}

// embedding are the ranges of IPv6 that hold an address of IPv4, by the first of its bytes: compatible, translated and 6to4 addresses.
var embedding = map[netip.Prefix]int{
	netip.MustParsePrefix("::/96"): 12, netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2,
}

func callersOwnAddress(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() ||
		slices.ContainsFunc(callersOwnPrefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	for prefix, at := range embedding {
		if prefix.Contains(a) {
			b := a.As16()
			return callersOwnAddress(netip.AddrFrom4([4]byte(b[at : at+4])))
		}
	}
	return false
}

// address reads an address as inet_aton and inet_pton do.
func address(host string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a, true
	}
	parts := strings.Split(host, ".")
	const most = 4
	if len(parts) > most {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 32)
		if strings.HasPrefix(part, "0b") || strings.HasPrefix(part, "0o") || strings.Contains(part, "_") {
			return netip.Addr{}, false
		}
		// The last number fills the bytes that remain.
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (most - i)
		}
		if err != nil || n >= 1<<bits {
			return netip.Addr{}, false
		}
		sum = sum<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

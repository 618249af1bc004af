package membership

import (
	"net"
	"net/netip"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// NameOwner returns the namespace that the name of an object in its mesh belongs to, or "" when it belongs to none. Whether that
// namespace exists, and is one of the mesh, is for the caller to say.
//
//	VirtualService                                            see HostOwner
//	VirtualNode, VirtualRouter, VirtualGateway, GatewayRoute  what follows the last underscore: the default name is <name>_<namespace>
//	other kinds                                               none
//
// domain is the cluster's, empty for "cluster.local".
func NameOwner(o meshv1beta2.Object, domain string) string {
	name := meshv1beta2.EffectiveName(o)
	switch o.(type) {
	case *meshv1beta2.VirtualService:
		return HostOwner(name, domain)
	case *meshv1beta2.VirtualNode, *meshv1beta2.VirtualRouter, *meshv1beta2.VirtualGateway, *meshv1beta2.GatewayRoute:
		// Neither a namespace nor the name of an object contains an underscore.
		if i := strings.LastIndexByte(name, '_'); i > 0 {
			return name[i+1:]
		}
	}
	return ""
}

// HostOwner returns the namespace that the cluster's DNS gives a host name to, in all the spellings that resolve in a pod: every name
// below <namespace>.svc, with or without the cluster's domain, and <name>.<namespace>. A port is not looked at. It returns "" for
// addresses and for all other names.
func HostOwner(host, domain string) string {
	host = CanonicalHost(host)
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if domain == "" {
		domain = "cluster.local"
	}
	below := strings.TrimSuffix(host, "."+CanonicalHost(domain))
	for _, zone := range []string{".svc", ".pod"} {
		if inside, ok := strings.CutSuffix(below, zone); ok {
			return inside[strings.LastIndexByte(inside, '.')+1:]
		}
	}
	if name, namespace, ok := strings.Cut(host, "."); ok && name != "" && !strings.Contains(namespace, ".") {
		return namespace
	}
	return ""
}

// CanonicalHost is equal for the spellings of a host that differ by case, a port or the dot at the end.
func CanonicalHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

package compile

import (
	"net/netip"
	"strings"
)

const defaultClusterDomain = "cluster.local"

// serviceKey names a Kubernetes Service.
type serviceKey struct{ namespace, name string }

// serviceOf returns the Service that a host name means to a pod of the given namespace. All spellings that the cluster's DNS
// knows are understood: name, name.namespace, name.namespace.svc and the full name with or without the trailing dot.
func serviceOf(host, namespace, domain string) (serviceKey, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if domain == "" {
		domain = defaultClusterDomain
	}
	if host == "" || isAddress(host) {
		return serviceKey{}, false
	}
	name, rest, dotted := strings.Cut(host, ".")
	if !dotted {
		return serviceKey{namespace, name}, true
	}
	namespace, rest, more := strings.Cut(rest, ".")
	if below, zone := strings.CutPrefix(rest, "svc."); !more || rest == "svc" || zone && below == domain {
		return serviceKey{namespace, name}, true
	}
	return serviceKey{}, false
}

// isAddress is true for IP addresses. Most hosts are told from one by their last letter, which is quicker than reading them.
func isAddress(host string) bool {
	if host == "" {
		return false
	}
	if last := host[len(host)-1]; (last < '0' || last > '9') && !strings.Contains(host, ":") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

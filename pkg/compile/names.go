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
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return serviceKey{}, false
	}
	labels := strings.Split(host, ".")
	rest := ""
	if len(labels) > 2 {
		rest = strings.Join(labels[2:], ".")
	}
	switch {
	case len(labels) == 1:
		return serviceKey{namespace, labels[0]}, true
	case len(labels) == 2, rest == "svc", rest == "svc."+domain:
		return serviceKey{labels[1], labels[0]}, true
	default:
		return serviceKey{}, false
	}
}

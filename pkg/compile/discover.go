package compile

import (
	"fmt"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// discover sets where d's endpoints come from. It is false when the node cannot be reached at all, which makes targets of it
// unresolved.
//
// A node with a pod selector gets its pods, whatever its discovery says; the hostname stays the name that clients use. Only when
// it selects no pod and its hostname lies outside the cluster is the name left to DNS.
func (b *builder) discover(n *node, d *mesh.Destination) bool {
	sd := n.object.Spec.ServiceDiscovery
	if sd == nil || (sd.DNS == nil && sd.AWSCloudMap == nil) {
		return false // reported by validate
	}
	if n.selector != nil && !b.in.Settings.Offline {
		pods := n.endpointPods()
		if len(pods) > 0 || sd.DNS == nil || b.inCluster(n, sd.DNS.Hostname) || validate.CallersOwn(sd.DNS.Hostname) {
			d.Endpoints = b.podEndpoints(n, pods, d.Port, b.servicePortFor(n, d.Port), d.IPPreference)
			return true
		}
	}
	if sd.DNS != nil {
		return b.discoverDNS(n, d, sd.DNS)
	}
	return b.discoverCloudMap(n, d, sd.AWSCloudMap)
}

// inCluster is true when the host name has the form of a Service's name, whether that Service exists or not.
func (b *builder) inCluster(n *node, host string) bool {
	_, ok := serviceOf(host, n.self.Namespace, b.in.Settings.ClusterDomain)
	return ok
}

// servicePortFor returns the port with the given number of the Service that the node's hostname names, if there is one.
func (b *builder) servicePortFor(n *node, port uint32) *input.ServicePort {
	dns := n.object.Spec.ServiceDiscovery.DNS
	if dns == nil {
		return nil
	}
	key, ok := serviceOf(dns.Hostname, n.self.Namespace, b.in.Settings.ClusterDomain)
	if !ok {
		return nil
	}
	return findPort(b.services[key], port)
}

func findPort(s *input.Service, port uint32) *input.ServicePort {
	if s == nil {
		return nil
	}
	for i := range s.Ports {
		if s.Ports[i].Port == port {
			return &s.Ports[i]
		}
	}
	return nil
}

// discoverDNS resolves a host name: to the endpoints of the Service it names, else by Envoy's own DNS.
func (b *builder) discoverDNS(n *node, d *mesh.Destination, dns *meshv1beta2.DNSServiceDiscovery) bool {
	all := dns.ResponseType != nil && *dns.ResponseType == meshv1beta2.DNSResponseTypeEndpoints
	host := dns.Hostname
	if key, ok := serviceOf(host, n.self.Namespace, b.in.Settings.ClusterDomain); ok && !b.in.Settings.Offline {
		if s := b.services[key]; s != nil && s.ExternalName == "" {
			return b.discoverService(n, d, key, s, "spec.serviceDiscovery.dns.hostname")
		} else if s != nil {
			host = s.ExternalName
		}
	}
	// Outside a cluster the pods are not known that a selector would find there.
	podsUnknown := n.selector != nil && b.in.Settings.Offline
	if !b.in.Settings.Loopback && !podsUnknown && validate.CallersOwn(host) {
		if host != dns.Hostname { // else reported by validate
			b.problem(mesh.Problem{Object: n.self, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonInvalidConfiguration,
				Path: "spec.serviceDiscovery.dns.hostname", Message: fmt.Sprintf("the Service of %q has the externalName %q, which is the pod of whoever calls; name another host there", dns.Hostname, host)})
		}
		return false
	}
	if !validHost(host) {
		b.problem(mesh.Problem{Object: n.self, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonInvalidConfiguration,
			Path: "spec.serviceDiscovery.dns.hostname", Message: fmt.Sprintf("%q is neither a host name nor an address", host)})
		return false
	}
	d.DNS = &mesh.DNS{Host: host, Port: d.Port, All: all}
	return true
}

// validHost is a coarse check that keeps out what a resolver could never take; names need not exist.
func validHost(h string) bool {
	const longest = 253
	if h == "" || len(strings.TrimSuffix(h, ".")) > longest {
		return false
	}
	return !strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/\\\"'*?#@", r) })
}

func (b *builder) discoverService(n *node, d *mesh.Destination, key serviceKey, s *input.Service, path string) bool {
	p := findPort(s, d.Port)
	if p == nil {
		b.problem(mesh.Problem{Object: n.self, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonServicePortNotFound, Path: path,
			Message: fmt.Sprintf("Service %s/%s has no port %d, which is what the listener says; add the port to the Service or change the listener", key.namespace, key.name, d.Port)})
		return false
	}
	d.Endpoints = sliceEndpoints(b.slices[key], p.Name, d.IPPreference)
	return true
}

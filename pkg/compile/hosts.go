package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// maxHostAddresses is how many pods a name of Cloud Map resolves to at most. Source: AWS Cloud Map, multivalue answers.
const maxHostAddresses = 8

// compileHosts decides which names the operator's DNS server answers, and with what: the names of virtual services, and what nodes
// register in Cloud Map, as far as no other DNS can know them. See docs/dns.md.
//
// A virtual service resolves to the cluster IPs of the Service of the node that provides it, else to a virtual address that is a pure
// function of its name. A name of Cloud Map that is no virtual service's resolves to pods, as it did.
//
// Such names belong to no namespace: of two namespaces the older claim is answered, whether it is a service's or a node's.
func (b *builder) compileHosts() {
	if b.in.Settings.Offline {
		return
	}
	outside, registered := b.outsideHosts(), b.cloudMapNodes()
	known := map[string]bool{}
	virtual := map[string]*virtualService{} // by virtual address
	namespaces := b.cloudMapNamespaces()
	for _, o := range b.of.VirtualServices {
		v := b.virtuals[keyOf(o)]
		if v == nil || v.object != o {
			continue
		}
		name := hostName(v.service.Name)
		if leadsOutside(v, outside[name]) || !b.ownsName(name, o.Namespace) || b.registeredBefore(v, name, registered[name]) {
			continue
		}
		v.service.Resolved = b.resolve(v, name, virtual)
		if known[name] { // of another mesh; the older one's addresses are answered
			continue
		}
		known[name] = true
		b.dnsNames = append(b.dnsNames, mesh.Name{Name: name, Zone: zoneOf(name, namespaces), Object: v.self, Addresses: v.service.Resolved})
	}
	for _, n := range b.nodeOrder {
		sd := n.object.Spec.ServiceDiscovery
		if sd == nil || sd.AWSCloudMap == nil {
			continue
		}
		name := hostName(discoveryName(sd))
		if known[name] || slices.ContainsFunc(outside[name], func(o mesh.Object) bool { return o.Namespace == n.self.Namespace }) || !b.ownsName(name, n.self.Namespace) {
			continue
		}
		known[name] = true
		b.dnsNames = append(b.dnsNames, mesh.Name{Name: name, Zone: zoneOf(name, namespaces), Object: n.self, Addresses: b.nodeAddresses(n)})
	}
	slices.SortFunc(b.dnsNames, func(x, y mesh.Name) int { return cmp.Compare(x.Name, y.Name) })
	b.reportUnresolvable()
}

func hostName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// outsideHosts are the names that proxies themselves resolve, with the nodes that are found there. If we answered them, a proxy would be
// led back to itself.
func (b *builder) outsideHosts() map[string][]mesh.Object {
	out := map[string][]mesh.Object{}
	for _, n := range b.nodeOrder {
		for _, d := range n.destinations {
			if d.DNS != nil {
				name := hostName(d.DNS.Host)
				out[name] = append(out[name], n.self)
				break
			}
		}
	}
	return out
}

// leadsOutside is true for a service whose name its own namespace or its targets are found at. A node of somebody else takes no name from it.
func leadsOutside(v *virtualService, nodes []mesh.Object) bool {
	if len(nodes) == 0 {
		return false
	}
	for _, p := range v.service.Ports {
		for _, r := range p.Routes {
			for _, t := range r.Targets {
				if t.Destination != nil && slices.Contains(nodes, t.Destination.Object) {
					return true
				}
			}
		}
	}
	return slices.ContainsFunc(nodes, func(n mesh.Object) bool { return n.Namespace == v.self.Namespace })
}

// cloudMapNodes are the nodes by the name that they register, oldest first.
func (b *builder) cloudMapNodes() map[string][]*node {
	out := map[string][]*node{}
	for _, n := range b.nodeOrder {
		if sd := n.object.Spec.ServiceDiscovery; sd != nil && sd.AWSCloudMap != nil {
			name := hostName(discoveryName(sd))
			out[name] = append(out[name], n)
		}
	}
	return out
}

// registeredBefore is true, and reported, when the name of a service is that of an older node of another namespace.
func (b *builder) registeredBefore(v *virtualService, name string, nodes []*node) bool {
	if len(nodes) == 0 || nodes[0].self.Namespace == v.self.Namespace || !nodes[0].object.CreationTimestamp.Before(&v.object.CreationTimestamp) {
		return false
	}
	b.problem(mesh.Problem{Object: v.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: "spec.awsName",
		Message: fmt.Sprintf("DNS answers %s for the older %s, which registers it in Cloud Map; choose another awsName, or create the service in its namespace",
			name, nodes[0].self)})
	return true
}

// ownsName is true for host names that neither the cluster's DNS nor a search domain of pods can make anything of.
func (b *builder) ownsName(name, namespace string) bool {
	domain := cmp.Or(b.in.Settings.ClusterDomain, defaultClusterDomain)
	if name == domain || strings.HasSuffix(name, "."+domain) || strings.HasSuffix(domain, "."+name) || !isHostName(name) {
		return false
	}
	key, short := serviceOf(name, namespace, domain)
	if !short {
		return true
	}
	return strings.Count(name, ".") == 1 && b.services[key] == nil
}

// isHostName is true for names of two labels or more that DNS can carry.
func isHostName(name string) bool {
	const longestName, longestLabel = 253, 63
	if isAddress(name) || len(name) > longestName {
		return false
	}
	labels := strings.Split(name, ".")
	return len(labels) > 1 && isServerName(name) && !slices.ContainsFunc(labels, func(l string) bool {
		return l == "" || len(l) > longestLabel || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-")
	})
}

// cloudMapNamespaces are the Cloud Map namespaces of all nodes that can be zones: never a top-level domain, nor the cluster's domain, nor
// anything above or below it.
func (b *builder) cloudMapNamespaces() map[string]bool {
	domain := cmp.Or(b.in.Settings.ClusterDomain, defaultClusterDomain)
	out := map[string]bool{}
	for _, n := range b.nodeOrder {
		if sd := n.object.Spec.ServiceDiscovery; sd != nil && sd.AWSCloudMap != nil {
			z := hostName(sd.AWSCloudMap.NamespaceName)
			if isHostName(z) && z != domain && !strings.HasSuffix(z, "."+domain) && !strings.HasSuffix(domain, "."+z) {
				out[z] = true
			}
		}
	}
	return out
}

// zoneOf returns the longest Cloud Map namespace that a name is in, else the name itself. So nobody else's names become ours.
func zoneOf(name string, namespaces map[string]bool) string {
	for _, z, ok := strings.Cut(name, "."); ok; _, z, ok = strings.Cut(z, ".") {
		if namespaces[z] {
			return z
		}
	}
	return name
}

// resolve returns the addresses of a virtual service. taken are the virtual addresses given out: of two names that have the same one,
// the younger gets none, because connections to them could not be told apart.
func (b *builder) resolve(v *virtualService, name string, taken map[string]*virtualService) []string {
	if ips := b.providerIPs(v); len(ips) > 0 {
		return ips
	}
	v4, v6 := virtualAddresses(name)
	a := v4.String()
	if b.in.Settings.IPv6Only {
		a = v6.String()
	}
	if other := taken[a]; other != nil && hostName(other.service.Name) != name {
		b.problem(mesh.Problem{Object: v.self, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonHostnameConflict, Path: "spec.awsName",
			Message: fmt.Sprintf("%s and %s of %s have the same virtual address %s; choose another name", name, other.service.Name, other.self, a)})
		return nil
	}
	taken[a] = v
	return []string{a}
}

// providerIPs are the cluster IPs of the Service that the providing node's hostname names.
func (b *builder) providerIPs(v *virtualService) []string {
	p := v.object.Spec.Provider
	if p == nil || p.VirtualNode == nil || len(v.service.Ports) == 0 {
		return nil
	}
	for _, port := range v.service.Ports {
		for _, r := range port.Routes {
			for _, t := range r.Targets {
				if t.Destination == nil {
					continue
				}
				n := b.nodeOf(t.Destination.Object)
				if n == nil || n.object.Spec.ServiceDiscovery.DNS == nil {
					return nil
				}
				key, ok := serviceOf(n.object.Spec.ServiceDiscovery.DNS.Hostname, n.self.Namespace, b.in.Settings.ClusterDomain)
				if s := b.services[key]; ok && s != nil {
					return s.ClusterIPs
				}
				return nil
			}
		}
	}
	return nil
}

// nodeAddresses are those of the first ready pods of a node.
func (b *builder) nodeAddresses(n *node) []string {
	var out []string
	for _, l := range n.listeners {
		if d := n.destinations[l.port]; d != nil && d.Endpoints != nil {
			for _, e := range d.Endpoints.List {
				out = append(out, e.Address)
			}
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxHostAddresses)]
}

// virtualAddresses returns the addresses that stand for a name, of 240.0.0.0/4, which nobody uses, and of a unique local prefix. They are
// a pure function of the name, so replicas agree and nothing is stored.
func virtualAddresses(name string) (v4, v6 netip.Addr) {
	sum := sha256.Sum256([]byte(name))
	n := binary.BigEndian.Uint32(sum[:4]) | 0xf0000000
	if n == 0xffffffff { // the broadcast address
		n--
	}
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], n)
	// fd61:6674:6572::/48, then 80 bits of the name.
	six := [16]byte{0xfd, 0x61, 0x66, 0x74, 0x65, 0x72}
	copy(six[6:], sum[4:14])
	return netip.AddrFrom4(four), netip.AddrFrom16(six)
}

// reportUnresolvable tells the owners of names in zones that the cluster's DNS knows nothing of.
func (b *builder) reportUnresolvable() {
	for _, h := range b.dnsNames {
		if _, found := slices.BinarySearch(b.in.Unresolvable, h.Zone); found && h.Object.Kind == "VirtualService" {
			b.problem(mesh.Problem{Object: h.Object, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonNameNotResolvable, Path: "spec.awsName",
				Message: fmt.Sprintf("%s does not resolve in this cluster: create a Service of that name, or forward zone %s "+
					"to Service aftermesh-system/aftermesh-dns (`aftermesh check` prints the CoreDNS stanza)", h.Name, h.Zone)})
		}
	}
}

var unresolvableZone = regexp.MustCompile(`forward zone (\S+) to Service`)

// UnresolvableZones returns the zones that the message of a condition asks to be forwarded.
func UnresolvableZones(message string) []string {
	var out []string
	for _, m := range unresolvableZone.FindAllStringSubmatch(message, -1) {
		out = append(out, m[1])
	}
	return out
}

package compile

import (
	"slices"
	"strconv"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// virtualService is a VirtualService while it is compiled.
type virtualService struct {
	object  *meshv1beta2.VirtualService
	self    mesh.Object
	mesh    *meshInfo
	service *mesh.Service
}

// compileServices decides what each service answers on its ports.
func (b *builder) compileServices() {
	for _, o := range b.of.VirtualServices {
		v := b.virtuals[keyOf(o)]
		if v == nil || v.object != o {
			continue
		}
		s := &mesh.Service{
			Name: meshv1beta2.EffectiveName(o), Object: v.self,
			Created: o.CreationTimestamp.UTC(), Sources: []mesh.Object{v.self},
		}
		if key, ok := serviceOf(s.Name, o.Namespace, b.in.Settings.ClusterDomain); ok {
			if ks := b.services[key]; ks != nil {
				s.Addresses, s.Headless = ks.ClusterIPs, len(ks.ClusterIPs) == 0 && ks.ExternalName == ""
			}
		}
		b.provide(v, s)
		slices.SortFunc(s.Sources, mesh.Object.Compare)
		s.Sources = slices.Compact(s.Sources)
		s.Size = serviceSize(s)
		s.Fingerprint = mesh.Fingerprint(s)
		v.service = s
	}
	b.findAlike()
}

// hostFor returns the host of an HTTP port of a service, made in this pass, for all callers.
func hostFor(s *mesh.Service, p *mesh.ServicePort) *mesh.Host {
	if p.Host != nil {
		return p.Host
	}
	port := strconv.FormatUint(uint64(p.Port), 10)
	domain := strings.TrimSuffix(s.Name, ".") // as the host is looked up
	p.Host = &mesh.Host{
		Name: hostOf(s.Name), Object: s.Object, Domains: []string{domain, domain + ":" + port}, Routes: p.Routes, Fingerprint: s.Fingerprint,
	}
	if len(s.Ports) > 1 {
		p.Host.Fingerprint = mesh.Combine(s.Fingerprint, port)
	}
	return p.Host
}

// findAlike notes the meshes in which the hosts of two services may be the same to Envoy: names that differ by case only, or that
// carry a port. Elsewhere names are distinct already, and nothing has to be compared per node.
func (b *builder) findAlike() {
	b.alike = map[*meshInfo]bool{}
	seen := make(map[nameKey]bool, len(b.virtuals))
	for _, o := range b.of.VirtualServices {
		v := b.virtuals[keyOf(o)]
		if v == nil || v.object != o {
			continue
		}
		k := nameKey{v.mesh.name, strings.ToLower(v.service.Name)}
		if seen[k] || strings.Contains(k.name, ":") {
			b.alike[v.mesh] = true
		}
		seen[k] = true
	}
}

// provide fills in the ports of a service from its provider; one without a provider answers nowhere.
func (b *builder) provide(v *virtualService, s *mesh.Service) {
	p := v.object.Spec.Provider
	if p == nil {
		return
	}
	l := lookup{from: v.self, namespace: v.self.Namespace, mesh: v.mesh, effect: "the service answers nothing until then"}
	switch {
	case p.VirtualRouter != nil:
		l.path, l.ref, l.arn = "spec.provider.virtualRouter", p.VirtualRouter.VirtualRouterRef, p.VirtualRouter.VirtualRouterARN
		if r := b.findRouter(l); r != nil {
			s.Ports = make([]*mesh.ServicePort, len(r.ports))
			for i, p := range r.ports {
				s.Ports[i] = &mesh.ServicePort{Port: p.Port, Protocol: p.Protocol, Routes: p.Routes}
			}
			s.Sources = append(append(s.Sources, r.self), r.sources...)
		}
	case p.VirtualNode != nil:
		l.path, l.ref, l.arn = "spec.provider.virtualNode", p.VirtualNode.VirtualNodeRef, p.VirtualNode.VirtualNodeARN
		if n := b.findNode(l); n != nil {
			s.Ports = b.nodePorts(v, n)
			s.Sources = append(s.Sources, n.self)
		}
	}
}

// nodePorts are the ports of a service that one node provides: each listener, with one route that takes everything and App
// Mesh's default timeout and retries, since a node can state neither for its callers.
func (b *builder) nodePorts(v *virtualService, n *node) []*mesh.ServicePort {
	var ports []*mesh.ServicePort
	for _, l := range n.listeners {
		r := &mesh.Route{Object: v.self, Match: mesh.Match{Path: "/"}}
		if d := n.destinations[l.port]; d != nil {
			r.Targets = []mesh.Target{{Cluster: d.Cluster, Weight: 1, Destination: d}}
		} else {
			t := unresolved(n.mesh.name, n.name)
			t.Weight = 1
			r.Targets = []mesh.Target{t}
		}
		if l.protocol.IsHTTP() {
			r.Timeout, r.Retry = routeTimeout(nil), defaultRetry()
		}
		ports = append(ports, &mesh.ServicePort{Port: l.port, Protocol: l.protocol, Routes: []*mesh.Route{r}})
	}
	return ports
}

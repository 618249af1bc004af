package compile

import (
	"fmt"
	"net/netip"
	"slices"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// nodeTLS decides how a node's listener encrypts; nil for clear text.
func (b *builder) nodeTLS(n *node, l *meshv1beta2.Listener, path string) *mesh.ServerTLS {
	if l.TLS == nil {
		return nil
	}
	var v *meshv1beta2.TLSValidation
	if own := l.TLS.Validation; own != nil {
		v = &meshv1beta2.TLSValidation{
			Trust:                   meshv1beta2.TLSTrust{File: own.Trust.File, SDS: own.Trust.SDS},
			SubjectAlternativeNames: own.SubjectAlternativeNames,
		}
	}
	if l.TLS.Mode == meshv1beta2.TLSModePermissive && l.PortMapping.Protocol == meshv1beta2.ProtocolTCP {
		b.problem(mesh.Problem{Object: n.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: path + ".mode",
			Message: "with PERMISSIVE the proxy waits for the client's first bytes, up to 15 s, to tell TLS from clear text: protocols in which the server speaks first start late; use STRICT or DISABLED for them"})
	}
	s := secrets{b: b, owner: n.self, mesh: n.mesh, path: path}
	return s.server(l.TLS.Mode, &l.TLS.Certificate, v)
}

// gatewayTLS decides how a gateway's listener encrypts; nil for clear text.
func (b *builder) gatewayTLS(g *gateway, t *meshv1beta2.VirtualGatewayListenerTLS, path string) *mesh.ServerTLS {
	if t == nil {
		return nil
	}
	s := secrets{b: b, owner: g.self, mesh: g.mesh, path: path}
	return s.server(t.Mode, &t.Certificate, t.Validation)
}

// unaskedTLS is how callers without a policy reach a listener: as it demands, and without a look at its certificate unless that
// comes from an authority that everybody can know. Source: App Mesh user guide, TLS.
func (b *builder) unaskedTLS(n *node, l *meshv1beta2.Listener, d *mesh.Destination) *mesh.ClientTLS {
	if l.TLS == nil || l.TLS.Mode == meshv1beta2.TLSModeDisabled {
		return nil
	}
	if !n.encrypted(d.Port) {
		return nil
	}
	out := &mesh.ClientTLS{ServerName: serverName(d.HealthHost)}
	if acm := l.TLS.Certificate.ACM; acm != nil {
		source := mesh.Material{Secret: b.acmTrust(n.mesh, n.self.Namespace, acm.CertificateARN)}
		out.Server = &mesh.Trust{Source: source, Names: discoveryNames(d.HealthHost)}
	}
	return out
}

// serverName is what the handshake may carry: addresses are not names.
func serverName(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return host
}

func discoveryNames(host string) []string {
	if host == "" {
		return nil
	}
	return []string{host}
}

// clientPolicy is a client policy with its material found.
type clientPolicy struct {
	enforce     bool
	ports       []int64
	trust       mesh.Material
	names       []string
	certificate *mesh.Material
	// key is equal for policies that are the same.
	key mesh.Hash
}

// policies remembers what they made of services and destinations within a pass, so that workloads with equal policies share it.
type policies struct {
	byKey        map[mesh.Hash]*clientPolicy
	services     map[secured[*mesh.Service]]*mesh.Service
	destinations map[secured[*mesh.Destination]]*mesh.Destination
}

type secured[T comparable] struct {
	of     T
	policy mesh.Hash
}

// defaultPolicy returns the policy for all backends; nil if there is none.
func (b *builder) defaultPolicy(o mesh.Object, m *meshInfo, d *meshv1beta2.BackendDefaults) *clientPolicy {
	if d == nil || d.ClientPolicy == nil || d.ClientPolicy.TLS == nil {
		return nil
	}
	return b.clientPolicy(o, m, "spec.backendDefaults.clientPolicy.tls", d.ClientPolicy.TLS)
}

// clientPolicy finds the material of a policy. What cannot be had makes connections fail, never unencrypted or unchecked.
func (b *builder) clientPolicy(o mesh.Object, m *meshInfo, path string, p *meshv1beta2.ClientPolicyTLS) *clientPolicy {
	s := secrets{b: b, owner: o, mesh: m, path: path}
	out := &clientPolicy{
		enforce: p.Enforce == nil || *p.Enforce, ports: p.Ports,
		trust: s.trust(&p.Validation.Trust), names: alternativeNames(p.Validation.SubjectAlternativeNames),
	}
	if c := p.Certificate; c != nil {
		certificate, ok := s.certificate(c.File, c.SDS)
		if !ok {
			certificate = s.unavailable()
		}
		out.certificate = &certificate
	}
	out.key = mesh.Fingerprint(&struct {
		Enforce     bool
		Ports       []int64
		Trust       mesh.Material
		Names       []string
		Certificate *mesh.Material
	}{out.enforce, out.ports, out.trust, out.names, out.certificate})
	if b.policies.byKey == nil {
		b.policies = policies{
			map[mesh.Hash]*clientPolicy{}, map[secured[*mesh.Service]]*mesh.Service{}, map[secured[*mesh.Destination]]*mesh.Destination{},
		}
	}
	if same := b.policies.byKey[out.key]; same != nil {
		return same
	}
	b.policies.byKey[out.key] = out
	return out
}

// demands is true when the policy allows nothing but TLS to a port.
func (p *clientPolicy) demands(port uint32) bool {
	return p.enforce && (len(p.ports) == 0 || slices.Contains(p.ports, int64(port)))
}

// towards decides how a caller with the policy reaches a destination. base is the way of a caller without one.
// Source: App Mesh user guide, client policies.
func (p *clientPolicy) towards(base *mesh.Destination) *mesh.ClientTLS {
	switch {
	case p.demands(base.Port):
		names := p.names
		if names == nil {
			names = discoveryNames(base.HealthHost)
		}
		return &mesh.ClientTLS{ServerName: serverName(base.HealthHost), Server: &mesh.Trust{Source: p.trust, Names: names}, Certificate: p.certificate}
	case p.enforce || base.TLS == nil || p.certificate == nil:
		return base.TLS
	default:
		offered := *base.TLS
		offered.Certificate = p.certificate
		return &offered
	}
}

// secured returns the service as callers with the policy reach it: itself where that makes no difference.
func (b *builder) secured(s *mesh.Service, p *clientPolicy) *mesh.Service {
	if p == nil {
		return s
	}
	key := secured[*mesh.Service]{s, p.key}
	out, known := b.policies.services[key]
	if !known {
		out = withDestinations(s, func(d *mesh.Destination) *mesh.Destination { return b.securedDestination(d, p) })
		b.policies.services[key] = out
	}
	return out
}

func (b *builder) securedDestination(d *mesh.Destination, p *clientPolicy) *mesh.Destination {
	key := secured[*mesh.Destination]{d, p.key}
	out, known := b.policies.destinations[key]
	if known {
		return out
	}
	out = d
	if t := p.towards(d); t != d.TLS {
		changed := *d
		changed.TLS, changed.Plain = t, d.Plain && !p.demands(d.Port)
		changed.Fingerprint = mesh.Hash{}
		changed.Fingerprint = mesh.Fingerprint(&changed)
		out = &changed
	}
	b.policies.destinations[key] = out
	return out
}

// withDestinations returns the service with each destination replaced by what f returns; s itself if f changes nothing.
func withDestinations(s *mesh.Service, f func(*mesh.Destination) *mesh.Destination) *mesh.Service {
	out := *s
	out.Ports = slices.Clone(s.Ports)
	changed := false
	for i, p := range out.Ports {
		port := *p
		port.Routes, port.Host = slices.Clone(p.Routes), nil
		for j, r := range port.Routes {
			route := *r
			route.Targets = slices.Clone(r.Targets)
			for k := range route.Targets {
				t := &route.Targets[k]
				if t.Destination == nil {
					continue
				}
				d := f(t.Destination)
				changed = changed || d != t.Destination
				t.Destination, t.Cluster = d, d.Cluster
			}
			port.Routes[j] = &route
		}
		out.Ports[i] = &port
	}
	if !changed {
		return s
	}
	out.Fingerprint = mesh.Hash{}
	out.Fingerprint = mesh.Fingerprint(&out)
	return &out
}

// distinctClusters gives destinations that are reached in several ways by one workload a cluster for each: the first keeps the
// name, the others get a suffix, so that the names are distinct.
func distinctClusters(w *mesh.Workload) {
	first := map[string]mesh.Hash{}
	for i := range w.Backends {
		be := &w.Backends[i]
		be.Service = withDestinations(be.Service, func(d *mesh.Destination) *mesh.Destination {
			f, taken := first[d.Cluster]
			if !taken {
				first[d.Cluster] = d.Fingerprint
			}
			if !taken || f == d.Fingerprint {
				return d
			}
			other := *d
			digits := mesh.Fingerprint(d.TLS).String()
			// The owner of the node can choose texts that give the same eight digits twice.
			for _, n := range []int{8, len(digits)} {
				other.Cluster = d.Cluster + "_" + digits[:n]
				if f, taken := first[other.Cluster]; !taken || f == d.Fingerprint {
					break
				}
			}
			first[other.Cluster] = d.Fingerprint
			other.Fingerprint = mesh.Hash{}
			other.Fingerprint = mesh.Fingerprint(&other)
			return &other
		})
	}
}

func alternativeNames(s *meshv1beta2.SubjectAlternativeNames) []string {
	if s == nil {
		return nil
	}
	return s.Match.Exact
}

// profileLacks reports material that the pods of a group have no way to get.
func (b *builder) profileLacks(w *mesh.Workload, p mesh.Profile) {
	if p.SDS {
		return
	}
	names := map[string]bool{}
	look := func(m *mesh.Material) {
		if m != nil && m.SDS != "" && (m.Secret == nil || m.Secret.Chain == nil) {
			names[m.SDS] = true
		}
	}
	for _, l := range w.Inbound {
		if l.TLS != nil {
			look(&l.TLS.Certificate)
			if l.TLS.Clients != nil {
				look(&l.TLS.Clients.Source)
			}
		}
	}
	for _, d := range w.Destinations {
		if d.TLS != nil {
			look(d.TLS.Certificate)
			if d.TLS.Server != nil {
				look(&d.TLS.Server.Source)
			}
		}
	}
	for name := range names {
		b.problem(mesh.Problem{Object: w.Object, Severity: mesh.Unresolved, Partial: true, Reason: meshv1beta2.ReasonTLSMaterialUnavailable,
			Message: fmt.Sprintf("pods without the socket of an SDS provider cannot get %q: connections that need it fail; run the operator with --enable-sds and restart the pods, or have MeshSettings map the name to a Secret for namespace %q", name, w.Object.Namespace)})
	}
}

package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// secrets finds the TLS material of one object; path is where its TLS settings stand.
type secrets struct {
	b     *builder
	owner mesh.Object
	mesh  *meshInfo
	path  string
}

// server decides how a listener encrypts. Without a certificate a strict listener refuses everybody and a permissive one serves
// clear text only.
func (s secrets) server(id mesh.WorkloadID, mode meshv1beta2.TLSMode, c *meshv1beta2.ListenerTLSCertificate, v *meshv1beta2.TLSValidation) *mesh.ServerTLS {
	if mode != meshv1beta2.TLSModeStrict && mode != meshv1beta2.TLSModePermissive {
		return nil
	}
	out := &mesh.ServerTLS{Permissive: mode == meshv1beta2.TLSModePermissive}
	var ok bool
	if c.ACM != nil && c.File == nil && c.SDS == nil {
		out.Certificate, ok = s.issued(id, c.ACM.CertificateARN)
	} else {
		out.Certificate, ok = s.certificate(c.File, c.SDS)
	}
	if !ok {
		if out.Permissive {
			return nil
		}
		out.Certificate = s.unavailable()
	}
	if v != nil {
		out.Clients = &mesh.Trust{Source: s.trust(&v.Trust), Names: alternativeNames(v.SubjectAlternativeNames)}
	}
	return out
}

// unavailable is material that nobody has: what needs it fails closed.
func (s secrets) unavailable() mesh.Material {
	return mesh.Material{Secret: mesh.NewSecret("unavailable", nil, nil)}
}

// certificate finds a certificate with its key. It is false when not exactly one source is given, which validate reports.
func (s secrets) certificate(f *meshv1beta2.FileCertificate, sds *meshv1beta2.SDSSecret) (mesh.Material, bool) {
	switch {
	case f != nil && sds == nil:
		return mesh.Material{Chain: f.CertificateChain, Key: f.PrivateKey}, true
	case sds != nil && f == nil:
		k, _ := s.mapped(sds.SecretName)
		return mesh.Material{SDS: sds.SecretName, Secret: mesh.NewSecret(sds.SecretName, k.Chain, k.Key)}, true
	default:
		return mesh.Material{}, false
	}
}

// trust finds the certificates to trust.
func (s secrets) trust(t *meshv1beta2.TLSTrust) mesh.Material {
	switch {
	case t.File != nil && t.SDS == nil && t.ACM == nil:
		return mesh.Material{Chain: t.File.CertificateChain}
	case t.SDS != nil && t.File == nil && t.ACM == nil:
		k, _ := s.mapped(t.SDS.SecretName)
		return mesh.Material{SDS: t.SDS.SecretName, Secret: mesh.NewSecret(t.SDS.SecretName, k.Trust, nil)}
	case t.ACM != nil && t.File == nil && t.SDS == nil && len(t.ACM.CertificateAuthorityARNs) > 0:
		arns := t.ACM.CertificateAuthorityARNs
		for _, arn := range arns {
			switch k, known := s.mapped(arn); {
			case !known:
				s.standsIn(".validation.trust.acm", arn)
			case k.Trust == nil:
				s.missing(".validation.trust.acm", fmt.Sprintf("MeshSettings %q map %s to a Secret that does not exist or has no ca.crt", s.mesh.object.Name, arn))
			}
		}
		secret := s.b.acmTrust(s.mesh, arns...)
		if s.b.in.Certificates.Root == nil && !s.b.in.Settings.Offline {
			s.missing(".validation.trust.acm", "the authority of the mesh is not ready")
		}
		return mesh.Material{Secret: secret}
	default:
		return s.unavailable()
	}
}

// mapped returns the content of the Secret that MeshSettings map a name to; it is empty when the Secret lacks it.
func (s secrets) mapped(name string) (KeyPair, bool) {
	k, known := s.b.in.Certificates.Mapped[Mapping{s.mesh.object.Name, name}]
	return k, known
}

// issued finds what stands in for a certificate of AWS: what MeshSettings map the ARN to, else one of the mesh's own authority.
func (s secrets) issued(id mesh.WorkloadID, arn string) (mesh.Material, bool) {
	if k, known := s.mapped(arn); known {
		if k.Chain == nil || k.Key == nil {
			s.missing(".certificate.acm", fmt.Sprintf("MeshSettings %q map %s to a Secret that does not exist or lacks tls.crt or tls.key", s.mesh.object.Name, arn))
			return mesh.Material{}, false
		}
		return mesh.Material{Secret: mesh.NewSecret("acm:"+arn, k.Chain, k.Key)}, true
	}
	s.b.issued[id] = s.owner
	s.standsIn(".certificate.acm", arn)
	leaf := s.b.in.Certificates.Leaves[id]
	if leaf.Chain == nil && !s.b.in.Settings.Offline {
		s.missing(".certificate.acm", "the authority of the mesh has not issued the certificate yet")
		return mesh.Material{}, false
	}
	return mesh.Material{Secret: mesh.NewSecret("acm:"+arn, leaf.Chain, leaf.Key)}, true
}

func (s secrets) standsIn(path, arn string) {
	s.b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: s.path + path,
		Message: fmt.Sprintf("the authority of the mesh stands in for %s, and only proxies of the mesh trust it; map the ARN to a Secret in MeshSettings %q to use another", arn, s.mesh.object.Name)})
}

func (s secrets) missing(path, why string) {
	s.b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Unresolved, Partial: true, Reason: meshv1beta2.ReasonTLSMaterialUnavailable,
		Path: s.path + path, Message: why + "; connections that need it fail until then"})
}

// acmTrust is what stands in for authorities of AWS: what MeshSettings map an ARN to, else the mesh's own authority.
func (b *builder) acmTrust(m *meshInfo, arns ...string) *mesh.Secret {
	var bundle [][]byte
	for _, arn := range arns {
		trust := b.in.Certificates.Root
		if k, known := b.in.Certificates.Mapped[Mapping{m.object.Name, arn}]; known {
			trust = k.Trust // none at all if the Secret lacks it: nobody is trusted in its place
		}
		if !slices.ContainsFunc(bundle, func(x []byte) bool { return string(x) == string(trust) }) {
			bundle = append(bundle, trust)
		}
	}
	var all []byte
	for _, part := range bundle {
		all = append(all, part...)
	}
	return mesh.NewSecret("acmca:"+strings.Join(arns, ","), all, nil)
}

// certificateRequests says what the mesh's authority should issue: certificates good for the names under which callers look for
// a workload.
func (b *builder) certificateRequests() []CertificateRequest {
	if len(b.issued) == 0 {
		return nil
	}
	provided := map[mesh.Object][]string{}
	for _, v := range b.virtuals {
		for _, p := range v.service.Ports {
			for _, r := range p.Routes {
				for _, t := range r.Targets {
					if t.Destination != nil {
						provided[t.Destination.Object] = append(provided[t.Destination.Object], v.service.Name)
					}
				}
			}
		}
	}
	var out []CertificateRequest
	for id, o := range b.issued {
		r := CertificateRequest{Workload: id, Object: o, DNS: provided[o]}
		if id.Gateway {
			r.DNS = b.gatewayHostnames(o)
		} else if n := b.nodeByName[nameKey{id.Mesh, id.Name}]; n != nil {
			r.DNS = append(r.DNS, discoveryNames(discoveryName(n.object.Spec.ServiceDiscovery))...)
			r.DNS = append(r.DNS, fmt.Sprintf("%s.%s.vn.%s", o.Name, o.Namespace, cmp.Or(b.in.Settings.TrustDomain, defaultClusterDomain)))
		}
		r.DNS = slices.DeleteFunc(r.DNS, func(name string) bool { return serverName(name) == "" || strings.Contains(name, ":") })
		slices.Sort(r.DNS)
		r.DNS = slices.Compact(r.DNS)
		out = append(out, r)
	}
	slices.SortFunc(out, func(x, y CertificateRequest) int { return x.Object.Compare(y.Object) })
	return out
}

// gatewayHostnames are the hosts that a gateway's routes name, and its own name.
func (b *builder) gatewayHostnames(o mesh.Object) []string {
	out := []string{o.Name + "." + o.Namespace + ".vg." + cmp.Or(b.in.Settings.TrustDomain, defaultClusterDomain)}
	for _, g := range b.gateways {
		if g.self != o {
			continue
		}
		for _, r := range g.routes {
			for _, h := range []*meshv1beta2.HTTPGatewayRoute{r.Spec.HTTPRoute, r.Spec.HTTP2Route} {
				if h != nil && h.Match.Hostname != nil && h.Match.Hostname.Exact != nil {
					out = append(out, strings.ToLower(*h.Match.Hostname.Exact))
				}
			}
			if h := r.Spec.GRPCRoute; h != nil && h.Match.Hostname != nil && h.Match.Hostname.Exact != nil {
				out = append(out, strings.ToLower(*h.Match.Hostname.Exact))
			}
		}
	}
	return out
}

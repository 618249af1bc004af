package compile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
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
func (s secrets) server(mode meshv1beta2.TLSMode, c *meshv1beta2.ListenerTLSCertificate, v *meshv1beta2.TLSValidation) *mesh.ServerTLS {
	if mode != meshv1beta2.TLSModeStrict && mode != meshv1beta2.TLSModePermissive {
		return nil
	}
	out := &mesh.ServerTLS{Permissive: mode == meshv1beta2.TLSModePermissive}
	var ok bool
	if c.ACM != nil && c.File == nil && c.SDS == nil {
		out.Certificate, ok = s.issued(c.ACM.CertificateARN)
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

// Names under which proxies ask us for material. Every user text stands behind a prefix of its own, and what stands for an ARN is named
// for where its content comes from: equal names have equal content, whoever wrote the ARNs.
const (
	// unavailableName is that of material that nobody has.
	unavailableName   = "unavailable"
	certificatePrefix = "certificate:"
	trustPrefix       = "trust:"
	sdsPrefix         = "sds:"
	sdsTrustPrefix    = "sds-trust:"
	// fromAuthority and fromNowhere are the origins that are no Secret.
	fromAuthority = "authority"
	fromNowhere   = "none"
)

// fromSecret is the origin of what MeshSettings map to a Secret.
func fromSecret(name string) string { return "secret/" + url.PathEscape(name) }

// unavailable is material that nobody has: what needs it fails closed.
func (s secrets) unavailable() mesh.Material {
	return mesh.Material{Secret: mesh.NewSecret(unavailableName, nil, nil)}
}

// certificate finds a certificate with its key. It is false when not exactly one source is given, which validate reports.
func (s secrets) certificate(f *meshv1beta2.FileCertificate, sds *meshv1beta2.SDSSecret) (mesh.Material, bool) {
	switch {
	case f != nil && sds == nil:
		return mesh.Material{Chain: f.CertificateChain, Key: f.PrivateKey}, true
	case sds != nil && f == nil:
		m, _ := s.b.mapped(s.mesh, s.owner.Namespace, sds.SecretName)
		return mesh.Material{SDS: sds.SecretName, Secret: mesh.NewSecret(sdsPrefix+sds.SecretName, m.Chain, m.Key)}, true
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
		m, _ := s.b.mapped(s.mesh, s.owner.Namespace, t.SDS.SecretName)
		return mesh.Material{SDS: t.SDS.SecretName, Secret: mesh.NewSecret(sdsTrustPrefix+t.SDS.SecretName, m.Trust, nil)}
	case t.ACM != nil && t.File == nil && t.SDS == nil && len(t.ACM.CertificateAuthorityARNs) > 0:
		arns := t.ACM.CertificateAuthorityARNs
		for _, arn := range arns {
			switch m, found := s.b.mapped(s.mesh, s.owner.Namespace, arn); {
			case found == unmapped:
				s.replaced(".validation.trust.acm", "the mesh CA is trusted instead of "+arn+"; map the ARN")
			case found == withheld:
				s.withheld(".validation.trust.acm", arn)
			case m.Trust == nil:
				s.missing(".validation.trust.acm", fmt.Sprintf("MeshSettings %q map %s to a Secret that does not exist or has no ca.crt", s.mesh.object.Name, arn))
			}
		}
		secret := s.b.acmTrust(s.mesh, s.owner.Namespace, arns...)
		if s.b.in.Certificates.Root == nil && !s.b.in.Settings.Offline {
			s.missing(".validation.trust.acm", "the mesh CA is not ready")
		}
		return mesh.Material{Secret: secret}
	default:
		return s.unavailable()
	}
}

// mapping says what MeshSettings have for a name.
type mapping int

const (
	// unmapped names stand in no entry; withheld ones stand in entries for other namespaces only.
	unmapped mapping = iota
	withheld
	mapped
)

// mapped returns the first entry for a name that objects of the namespace may use. The entry is empty when its Secret lacks what it should
// have.
func (b *builder) mapped(m *meshInfo, namespace, name string) (input.MappedSecret, mapping) {
	entries := b.in.Certificates.Mapped[input.Mapping{Mesh: m.object.Name, Name: name}]
	for _, e := range entries {
		if slices.Contains(e.Namespaces, namespace) || slices.Contains(e.Namespaces, "*") {
			return e, mapped
		}
	}
	if len(entries) > 0 {
		return input.MappedSecret{}, withheld
	}
	return input.MappedSecret{}, unmapped
}

// issued finds what replaces a certificate of AWS: what MeshSettings map the ARN to, else one of the mesh's own authority.
func (s secrets) issued(arn string) (mesh.Material, bool) {
	switch m, found := s.b.mapped(s.mesh, s.owner.Namespace, arn); {
	case found == withheld:
		s.withheld(".certificate.acm", arn)
		return mesh.Material{}, false
	case found == mapped && (m.Chain == nil || m.Key == nil):
		s.missing(".certificate.acm", fmt.Sprintf("MeshSettings %q map %s to a Secret that does not exist or lacks tls.crt or tls.key", s.mesh.object.Name, arn))
		return mesh.Material{}, false
	case found == mapped:
		return mesh.Material{Secret: mesh.NewSecret(certificatePrefix+fromSecret(m.Secret), m.Chain, m.Key)}, true
	}
	s.b.issued[s.owner] = true
	s.replaced(".certificate.acm", "the mesh CA issues this certificate instead of "+arn+", and only proxies of the mesh trust it; map the ARN")
	leaf := s.b.in.Certificates.Leaves[s.owner]
	if leaf.Chain == nil && !s.b.in.Settings.Offline {
		s.missing(".certificate.acm", "the mesh CA has not issued the certificate yet")
		return mesh.Material{}, false
	}
	return mesh.Material{Secret: mesh.NewSecret(certificatePrefix+fromAuthority, leaf.Chain, leaf.Key)}, true
}

// withheld reports a name that MeshSettings map for other namespaces only. Nothing replaces it: the administrator has said who may
// have it.
func (s secrets) withheld(path, name string) {
	s.missing(path, fmt.Sprintf("no entry of MeshSettings %q for %s lists namespace %q; add it to the entry's namespaces", s.mesh.object.Name, name, s.owner.Namespace))
}

// replaced reports an ARN in whose place the mesh CA is used.
func (s secrets) replaced(path, what string) {
	s.b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: s.path + path,
		Message: fmt.Sprintf("%s to a Secret in MeshSettings %q to use another", what, s.mesh.object.Name)})
}

func (s secrets) missing(path, why string) {
	s.b.problem(mesh.Problem{Object: s.owner, Severity: mesh.Unresolved, Partial: true, Reason: meshv1beta2.ReasonTLSMaterialUnavailable,
		Path: s.path + path, Message: why + "; connections that need it fail until then"})
}

// acmTrust is what replaces authorities of AWS that an object of the namespace names: what MeshSettings map an ARN to, else the mesh's
// own authority.
func (b *builder) acmTrust(m *meshInfo, namespace string, arns ...string) *mesh.Secret {
	var origins []string
	var all []byte
	for _, arn := range arns {
		origin, trust := fromAuthority, b.in.Certificates.Root
		switch e, found := b.mapped(m, namespace, arn); found {
		case withheld:
			origin, trust = fromNowhere, nil
		case mapped:
			origin, trust = fromSecret(e.Secret), e.Trust // none at all if the Secret lacks it: nobody is trusted in its place
		}
		if !slices.Contains(origins, origin) {
			origins, all = append(origins, origin), append(all, trust...)
		}
	}
	return mesh.NewSecret(trustPrefix+strings.Join(origins, ","), all, nil)
}

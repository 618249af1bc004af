package validate

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// listenerCertificate judges the certificate that a listener shows.
func (j *judge) listenerCertificate(tls *field.Path, c *meshv1beta2.ListenerTLSCertificate) {
	j.exactlyOne("U5", tls.Child("certificate"), "the certificate",
		member{"acm", c.ACM != nil}, member{"file", c.File != nil}, member{"sds", c.SDS != nil})
}

// nodeTrust judges the issuers that a VirtualNode's listener accepts; absent is fine.
func (j *judge) nodeTrust(tls *field.Path, v *meshv1beta2.ListenerTLSValidation) {
	if v == nil {
		return
	}
	j.exactlyOne("U6", tls.Child("validation", "trust"), "the trust",
		member{"file", v.Trust.File != nil}, member{"sds", v.Trust.SDS != nil})
}

// trust judges the issuers that a client policy or a gateway's listener accepts.
func (j *judge) trust(rule string, tls *field.Path, t *meshv1beta2.TLSTrust) {
	j.exactlyOne(rule, tls.Child("validation", "trust"), "the trust",
		member{"acm", t.ACM != nil}, member{"file", t.File != nil}, member{"sds", t.SDS != nil})
}

// backendDefaults judges the default client policy; absent is fine.
func (j *judge) backendDefaults(path *field.Path, d *meshv1beta2.BackendDefaults) {
	if d != nil {
		j.clientPolicy(path.Child("clientPolicy"), d.ClientPolicy)
	}
}

// clientPolicy judges TLS towards backends; absent is fine.
func (j *judge) clientPolicy(path *field.Path, p *meshv1beta2.ClientPolicy) {
	if p == nil || p.TLS == nil {
		return
	}
	tls := path.Child("tls")
	if c := p.TLS.Certificate; c != nil {
		j.exactlyOne("U8", tls.Child("certificate"), "the client certificate", member{"file", c.File != nil}, member{"sds", c.SDS != nil})
	}
	j.trust("U7", tls, &p.TLS.Validation.Trust)
}

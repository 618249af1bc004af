package v1beta2

// TLSMode says what a listener accepts.
type TLSMode string

// Modes of a listener's TLS block.
const (
	// TLSModeDisabled accepts plaintext only.
	TLSModeDisabled TLSMode = "DISABLED"
	// TLSModePermissive accepts TLS and plaintext.
	TLSModePermissive TLSMode = "PERMISSIVE"
	// TLSModeStrict accepts TLS only.
	TLSModeStrict TLSMode = "STRICT"
)

// ListenerTLSCertificate is a union: exactly one field is set.
type ListenerTLSCertificate struct {
	// ACM names a certificate of AWS Certificate Manager; the built-in CA or a configured Secret replaces it.
	// +optional
	ACM *ACMCertificate `json:"acm,omitempty"`
	// File is a certificate in Envoy's file system.
	// +optional
	File *FileCertificate `json:"file,omitempty"`
	// SDS is a certificate delivered by the local secret discovery service.
	// +optional
	SDS *SDSSecret `json:"sds,omitempty"`
}

// ACMCertificate names a certificate of AWS Certificate Manager.
type ACMCertificate struct {
	// CertificateARN is the certificate's resource name.
	CertificateARN string `json:"certificateARN"`
}

// FileCertificate is a certificate and key in the file system of the Envoy container.
type FileCertificate struct {
	// CertificateChain is the path of the PEM chain.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	CertificateChain string `json:"certificateChain"`
	// PrivateKey is the path of the PEM key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	PrivateKey string `json:"privateKey"`
}

// SDSSecret names a resource of the local secret discovery service: a certificate or a trust bundle.
type SDSSecret struct {
	// SecretName is the name asked of the service, for example a SPIFFE id.
	SecretName string `json:"secretName"`
}

// ClientTLSCertificate is a union: exactly one field is set.
type ClientTLSCertificate struct {
	// File is a certificate in Envoy's file system.
	// +optional
	File *FileCertificate `json:"file,omitempty"`
	// SDS is a certificate delivered by the local secret discovery service.
	// +optional
	SDS *SDSSecret `json:"sds,omitempty"`
}

// TLSValidation says how the peer's certificate is verified: servers by client policies, clients by gateway listeners.
type TLSValidation struct {
	// Trust is the set of accepted issuers.
	Trust TLSTrust `json:"trust"`
	// SubjectAlternativeNames restricts the peer's names. Absent: on a client the name must be the target's
	// service discovery name; on a listener it is not checked.
	// +optional
	SubjectAlternativeNames *SubjectAlternativeNames `json:"subjectAlternativeNames,omitempty"`
}

// TLSTrust is a union: exactly one field is set.
type TLSTrust struct {
	// ACM trusts private authorities of AWS Certificate Manager; the built-in CA or a configured Secret replaces them.
	// +optional
	ACM *ACMTrust `json:"acm,omitempty"`
	// File is a bundle in Envoy's file system.
	// +optional
	File *FileTrust `json:"file,omitempty"`
	// SDS is a bundle delivered by the local secret discovery service.
	// +optional
	SDS *SDSSecret `json:"sds,omitempty"`
}

// ListenerTLSValidation says how a VirtualNode listener verifies client certificates. Present: clients must show one.
type ListenerTLSValidation struct {
	// Trust is the set of accepted issuers.
	Trust ListenerTLSTrust `json:"trust"`
	// SubjectAlternativeNames restricts the client's names. Absent: they are not checked.
	// +optional
	SubjectAlternativeNames *SubjectAlternativeNames `json:"subjectAlternativeNames,omitempty"`
}

// ListenerTLSTrust is a union: exactly one field is set. VirtualNode listeners know no ACM trust.
type ListenerTLSTrust struct {
	// File is a bundle in Envoy's file system.
	// +optional
	File *FileTrust `json:"file,omitempty"`
	// SDS is a bundle delivered by the local secret discovery service.
	// +optional
	SDS *SDSSecret `json:"sds,omitempty"`
}

// ACMTrust names private authorities of AWS Certificate Manager.
type ACMTrust struct {
	// CertificateAuthorityARNs are the authorities' resource names.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	CertificateAuthorityARNs []string `json:"certificateAuthorityARNs"`
}

// FileTrust is a bundle of authorities in the file system of the Envoy container.
type FileTrust struct {
	// CertificateChain is the path of the PEM bundle.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	CertificateChain string `json:"certificateChain"`
}

// SubjectAlternativeNames restricts the names of a peer's certificate.
type SubjectAlternativeNames struct {
	// Match holds the accepted names.
	Match SubjectAlternativeNameMatch `json:"match"`
}

// SubjectAlternativeNameMatch holds the accepted names of a peer's certificate.
type SubjectAlternativeNameMatch struct {
	// Exact lists accepted DNS names or URIs; any one is enough.
	Exact []string `json:"exact"`
}

// ClientPolicy says how connections to backends are made.
type ClientPolicy struct {
	// TLS of connections to backends. Absent: plaintext unless the server asks for TLS.
	// +optional
	TLS *ClientPolicyTLS `json:"tls,omitempty"`
}

// ClientPolicyTLS is TLS origination towards backends.
type ClientPolicyTLS struct {
	// Enforce refuses plaintext. Absent: true.
	// +optional
	Enforce *bool `json:"enforce,omitempty"`
	// Ports are the destination ports the policy covers. Absent or empty: all.
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	// +optional
	Ports []int64 `json:"ports,omitempty"`
	// Certificate is the client certificate shown to servers that ask for one.
	// +optional
	Certificate *ClientTLSCertificate `json:"certificate,omitempty"`
	// Validation says how the server's certificate is verified.
	Validation TLSValidation `json:"validation"`
}

// BackendDefaults apply to every backend that has no policy of its own.
type BackendDefaults struct {
	// ClientPolicy of connections to backends.
	// +optional
	ClientPolicy *ClientPolicy `json:"clientPolicy,omitempty"`
}

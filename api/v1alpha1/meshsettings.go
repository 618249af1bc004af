package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CertificateSource says which Secret replaces a certificate or an authority that App Mesh had from elsewhere.
//
// +kubebuilder:validation:XValidation:rule="has(self.arn) != has(self.sdsName)",message="exactly one of arn and sdsName must be given"
type CertificateSource struct {
	// ARN of a certificate of AWS Certificate Manager, or of one of its private authorities, as it stands in the manifests.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	ARN *string `json:"arn,omitempty"`
	// SDSName is a secretName of an sds field; the Secret is used by pods that have no SDS provider of their own.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	SDSName *string `json:"sdsName,omitempty"`
	// SecretName is a Secret in the operator's namespace: tls.crt and tls.key for a certificate, ca.crt for what callers trust.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName"`
	// Namespaces whose nodes and gateways may use the entry; "*" stands for all. An entry without any serves nobody. Of several entries for
	// one name the first that lists a namespace serves it.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=atomic
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
}

// HeaderCase says how proxies write the names of headers in HTTP/1.
// +kubebuilder:validation:Enum=Lower;Preserve
type HeaderCase string

// The values of HeaderCase.
const (
	HeaderCaseLower    HeaderCase = "Lower"
	HeaderCasePreserve HeaderCase = "Preserve"
)

// ServerHeader says what becomes of the Server header of responses.
// +kubebuilder:validation:Enum=Overwrite;PassThrough
type ServerHeader string

// The values of ServerHeader.
const (
	ServerHeaderOverwrite   ServerHeader = "Overwrite"
	ServerHeaderPassThrough ServerHeader = "PassThrough"
)

// HTTP10 says what becomes of requests in HTTP/1.0.
// +kubebuilder:validation:Enum=Accept;Refuse
type HTTP10 string

// The values of HTTP10.
const (
	HTTP10Accept HTTP10 = "Accept"
	HTTP10Refuse HTTP10 = "Refuse"
)

// HeaderLimits bound the headers of a request or response as a whole. A request with more gets 431 from the first proxy on its way.
type HeaderLimits struct {
	// Kibibytes of all names and values together; 60 if not given. With Envoy 1.37 leave it at 60: there a single header of more than
	// 64 KiB, request or response, ends the connection between two proxies with all requests on it.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=240
	// +optional
	Kibibytes *int32 `json:"kibibytes,omitempty"`
	// Count of headers; 100 if not given.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Count *int32 `json:"count,omitempty"`
}

// HTTPSettings say how the proxies of a mesh speak HTTP. What is not given is as it was in App Mesh; only HTTP/1.0 is accepted.
type HTTPSettings struct {
	// HeaderCase Preserve writes names of headers as they were received, as far as every hop speaks HTTP/1: HTTP/2 knows small letters
	// only. The default, Lower, writes all of them in small letters.
	// +optional
	HeaderCase *HeaderCase `json:"headerCase,omitempty"`
	// Server PassThrough leaves the Server header of the application; the default, Overwrite, writes "envoy" into it.
	// +optional
	Server *ServerHeader `json:"server,omitempty"`
	// HTTP10 Refuse answers requests in HTTP/1.0 by 426, as App Mesh did; the default is Accept.
	// +optional
	HTTP10 *HTTP10 `json:"http10,omitempty"`
	// HeaderLimits are the largest headers that proxies pass on.
	// +optional
	HeaderLimits *HeaderLimits `json:"headerLimits,omitempty"`
	// TrustedHops is how many proxies in front of the mesh's gateways are believed in what they write into X-Forwarded-For and
	// X-Forwarded-Proto: 1 for a load balancer that adds these headers. By default none is: the client's address is that of the
	// connection, and the protocol is that of the gateway's listener.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	// +optional
	TrustedHops *int32 `json:"trustedHops,omitempty"`
}

// KeepAliveSettings say how silent TCP connections from proxies to backends are probed, so that what keeps state of them on the way,
// as NAT gateways do for 350 seconds, does not forget them.
type KeepAliveSettings struct {
	// IdleSeconds of silence before the first probe; 120 if not given. 0 leaves probes out, as in App Mesh.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32767
	// +optional
	IdleSeconds *int32 `json:"idleSeconds,omitempty"`
	// IntervalSeconds between probes; 30 if not given.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32767
	// +optional
	IntervalSeconds *int32 `json:"intervalSeconds,omitempty"`
	// Probes without an answer that close the connection; 4 if not given.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=127
	// +optional
	Probes *int32 `json:"probes,omitempty"`
}

// MeshSettingsSpec is the desired state of MeshSettings.
type MeshSettingsSpec struct {
	// Certificates maps names of certificates and authorities in manifests to Secrets. For what is not mapped the authority of the
	// mesh stands in.
	// +kubebuilder:validation:MaxItems=512
	// +listType=atomic
	// +optional
	Certificates []CertificateSource `json:"certificates,omitempty"`
	// HTTP says how the proxies of the mesh speak HTTP.
	// +optional
	HTTP *HTTPSettings `json:"http,omitempty"`
	// KeepAlive probes silent TCP connections of proxies to backends and to destinations outside the mesh.
	// +optional
	KeepAlive *KeepAliveSettings `json:"keepAlive,omitempty"`
}

// MeshSettingsStatus is what the operator found in MeshSettings.
type MeshSettingsStatus struct {
	// Conditions: Accepted is False while an entry serves nobody.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// ObservedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// MeshSettings are the settings of the Mesh of the same name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=meshsettings,singular=meshsettings,scope=Cluster,categories=all
// +kubebuilder:printcolumn:name="ACCEPTED",type="string",JSONPath=".status.conditions[?(@.type=='Accepted')].status"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
type MeshSettings struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec MeshSettingsSpec `json:"spec,omitempty"`
	// +optional
	Status MeshSettingsStatus `json:"status,omitempty"`
}

// MeshSettingsList is a list of MeshSettings objects.
//
// +kubebuilder:object:root=true
type MeshSettingsList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshSettings `json:"items"`
}

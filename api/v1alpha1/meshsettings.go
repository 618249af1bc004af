package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CertificateSource says which Secret stands in for a certificate or an authority that App Mesh had from elsewhere.
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

// MeshSettingsSpec is the desired state of MeshSettings.
type MeshSettingsSpec struct {
	// Certificates maps names of certificates and authorities in manifests to Secrets. For what is not mapped the authority of the
	// mesh stands in.
	// +kubebuilder:validation:MaxItems=512
	// +listType=atomic
	// +optional
	Certificates []CertificateSource `json:"certificates,omitempty"`
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

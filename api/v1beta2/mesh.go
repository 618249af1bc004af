package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EgressFilterType says what happens to traffic whose destination is not modelled in the mesh.
type EgressFilterType string

// Kinds of egress filter.
const (
	// EgressFilterAllowAll passes unmodelled traffic through.
	EgressFilterAllowAll EgressFilterType = "ALLOW_ALL"
	// EgressFilterDropAll refuses it. This is the default.
	EgressFilterDropAll EgressFilterType = "DROP_ALL"
)

// EgressFilter is the mesh's stance towards unmodelled destinations.
type EgressFilter struct {
	// Type of the filter.
	// +kubebuilder:validation:Enum=ALLOW_ALL;DROP_ALL
	Type EgressFilterType `json:"type"`
}

// IPPreference is the address family a mesh uses.
type IPPreference string

// Address family preferences. The last two are accepted beyond App Mesh's own schema.
const (
	IPPreferenceIPv6Only      IPPreference = "IPv6_ONLY"
	IPPreferenceIPv4Only      IPPreference = "IPv4_ONLY"
	IPPreferenceIPv6Preferred IPPreference = "IPv6_PREFERRED"
	IPPreferenceIPv4Preferred IPPreference = "IPv4_PREFERRED"
)

// MeshServiceDiscovery holds the address family preference of a mesh.
type MeshServiceDiscovery struct {
	// IPPreference applies to all nodes and gateways. Absent: names resolve to IPv6 first, then IPv4; applications
	// are reached by IPv4.
	// +kubebuilder:validation:Enum=IPv6_ONLY;IPv4_ONLY;IPv6_PREFERRED;IPv4_PREFERRED
	// +optional
	IPPreference *IPPreference `json:"ipPreference,omitempty"`
}

// MeshSpec is the desired state of a Mesh.
type MeshSpec struct {
	// AWSName is the mesh's name in proxy identities and resource names. Absent: metadata.name. Immutable.
	// +optional
	AWSName *string `json:"awsName,omitempty"`
	// NamespaceSelector selects the namespaces whose new objects join the mesh. Absent: none; empty: all.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// EgressFilter for destinations that are not modelled. Absent: DROP_ALL.
	// +optional
	EgressFilter *EgressFilter `json:"egressFilter,omitempty"`
	// MeshOwner is the AWS account of a shared mesh. Accepted without effect.
	// +optional
	MeshOwner *string `json:"meshOwner,omitempty"`
	// MeshServiceDiscovery is the address family preference.
	// +optional
	MeshServiceDiscovery *MeshServiceDiscovery `json:"meshServiceDiscovery,omitempty"`
}

// MeshStatus is the observed state of a Mesh.
type MeshStatus struct {
	// MeshARN is the mesh's resource name.
	// +optional
	MeshARN *string `json:"meshARN,omitempty"`
	// Conditions of the mesh.
	// +listType=atomic
	// +optional
	Conditions []Condition `json:"conditions,omitempty"`
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
	// Proxies says how many of how many proxies run this generation, for example 2/3; a Mesh counts none.
	// +optional
	Proxies string `json:"proxies,omitempty"`
}

// Mesh is the boundary within which services call each other.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.meshARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type Mesh struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec MeshSpec `json:"spec,omitempty"`
	// +optional
	Status MeshStatus `json:"status,omitempty"`
}

// MeshList is a list of Mesh objects.
//
// +kubebuilder:object:root=true
type MeshList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mesh `json:"items"`
}

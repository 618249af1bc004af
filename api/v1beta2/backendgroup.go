package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BackendGroupSpec is the desired state of a BackendGroup.
type BackendGroupSpec struct {
	// VirtualServices are the members; the JSON key is all lower case. Absent or empty: an empty group.
	// +optional
	VirtualServices []Reference `json:"virtualservices,omitempty"`
	// MeshRef is the group's mesh. Written by the system.
	// +optional
	MeshRef *MeshReference `json:"meshRef,omitempty"`
}

// BackendGroupStatus is the observed state of a BackendGroup. App Mesh's controller left it empty.
type BackendGroupStatus struct {
	// Conditions of the group.
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

// BackendGroup is a set of VirtualServices that VirtualNodes can name together. It declares the server's own AGE column too, which
// declaring others takes away.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type BackendGroup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec BackendGroupSpec `json:"spec,omitempty"`
	// +optional
	Status BackendGroupStatus `json:"status,omitempty"`
}

// BackendGroupList is a list of BackendGroup objects.
//
// +kubebuilder:object:root=true
type BackendGroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BackendGroup `json:"items"`
}

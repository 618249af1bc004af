package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// VirtualNodeServiceProvider sends a service's traffic straight to a node. Exactly one field is set.
type VirtualNodeServiceProvider struct {
	// VirtualNodeRef names the node.
	// +optional
	VirtualNodeRef *Reference `json:"virtualNodeRef,omitempty"`
	// VirtualNodeARN names the node by its awsName in the same mesh.
	// +optional
	VirtualNodeARN *string `json:"virtualNodeARN,omitempty"`
}

// VirtualRouterServiceProvider sends a service's traffic through a router. Exactly one field is set.
type VirtualRouterServiceProvider struct {
	// VirtualRouterRef names the router.
	// +optional
	VirtualRouterRef *Reference `json:"virtualRouterRef,omitempty"`
	// VirtualRouterARN names the router by its awsName in the same mesh.
	// +optional
	VirtualRouterARN *string `json:"virtualRouterARN,omitempty"`
}

// VirtualServiceProvider is a union: at most one field is set; none means that the service routes nowhere.
type VirtualServiceProvider struct {
	// VirtualNode takes all traffic.
	// +optional
	VirtualNode *VirtualNodeServiceProvider `json:"virtualNode,omitempty"`
	// VirtualRouter distributes the traffic.
	// +optional
	VirtualRouter *VirtualRouterServiceProvider `json:"virtualRouter,omitempty"`
}

// VirtualServiceSpec is the desired state of a VirtualService.
type VirtualServiceSpec struct {
	// AWSName is the host name that clients call. Absent: <name>.<namespace>. Immutable.
	// +optional
	AWSName *string `json:"awsName,omitempty"`
	// Provider of the service. Absent: the service exists but routes nowhere.
	// +optional
	Provider *VirtualServiceProvider `json:"provider,omitempty"`
	// MeshRef is the service's mesh. Written by the system.
	// +optional
	MeshRef *MeshReference `json:"meshRef,omitempty"`
}

// VirtualServiceStatus is the observed state of a VirtualService.
type VirtualServiceStatus struct {
	// VirtualServiceARN is the service's resource name.
	// +optional
	VirtualServiceARN *string `json:"virtualServiceARN,omitempty"`
	// Conditions of the service.
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

// VirtualService is a name that clients call, and who answers it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.virtualServiceARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type VirtualService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VirtualServiceSpec `json:"spec,omitempty"`
	// +optional
	Status VirtualServiceStatus `json:"status,omitempty"`
}

// VirtualServiceList is a list of VirtualService objects.
//
// +kubebuilder:object:root=true
type VirtualServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualService `json:"items"`
}

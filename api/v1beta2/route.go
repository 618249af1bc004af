package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RouteSpec is the desired state of a Route. The route's name is the object's.
type RouteSpec struct {
	// VirtualRouterRef names the router, in the same namespace. Immutable.
	VirtualRouterRef LocalReference `json:"virtualRouterRef"`
	// RouteBody is the route itself.
	RouteBody `json:",inline"`
}

// RouteStatus is the observed state of a Route.
type RouteStatus struct {
	// RouteARN is the route's resource name.
	// +optional
	RouteARN *string `json:"routeARN,omitempty"`
	// Conditions of the route.
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

// Route is one route of a VirtualRouter as an object of its own, so that it can have an owner of its own. Routes written
// within the router win over a Route of the same name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all,shortName=vroute
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.routeARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="ROUTER",type="string",JSONPath=".spec.virtualRouterRef.name",priority=1
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type Route struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RouteSpec `json:"spec"`
	// +optional
	Status RouteStatus `json:"status,omitempty"`
}

// RouteList is a list of Route objects.
//
// +kubebuilder:object:root=true
type RouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Route `json:"items"`
}

package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultRewrite turns one of App Mesh's default rewrites on or off.
type DefaultRewrite string

// Switch positions of a default rewrite. Absent counts as ENABLED.
const (
	DefaultRewriteEnabled  DefaultRewrite = "ENABLED"
	DefaultRewriteDisabled DefaultRewrite = "DISABLED"
)

// GatewayRouteVirtualService names the service that a gateway route leads to. Exactly one field is set.
type GatewayRouteVirtualService struct {
	// VirtualServiceRef names the service.
	// +optional
	VirtualServiceRef *Reference `json:"virtualServiceRef,omitempty"`
	// VirtualServiceARN names the service by its awsName in the route's mesh.
	// +optional
	VirtualServiceARN *string `json:"virtualServiceARN,omitempty"`
}

// GatewayRouteTarget is where a gateway route leads.
type GatewayRouteTarget struct {
	// VirtualService that receives the traffic.
	VirtualService GatewayRouteVirtualService `json:"virtualService"`
	// Port of the service's provider. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// GatewayRouteHostnameRewrite controls the Host header that the target sees.
type GatewayRouteHostnameRewrite struct {
	// DefaultTargetHostname ENABLED (also when absent) makes it the target service's awsName; DISABLED keeps the original.
	// +kubebuilder:validation:Enum=ENABLED;DISABLED
	// +optional
	DefaultTargetHostname *DefaultRewrite `json:"defaultTargetHostname,omitempty"`
}

// GatewayRoutePrefixRewrite controls what replaces the matched prefix. At most one field is set.
type GatewayRoutePrefixRewrite struct {
	// DefaultPrefix ENABLED (also when absent) replaces the matched prefix by "/"; DISABLED keeps it.
	// +kubebuilder:validation:Enum=ENABLED;DISABLED
	// +optional
	DefaultPrefix *DefaultRewrite `json:"defaultPrefix,omitempty"`
	// Value replaces the matched prefix; starts and ends with "/".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Value *string `json:"value,omitempty"`
}

// GatewayRoutePathRewrite controls what replaces the whole path.
type GatewayRoutePathRewrite struct {
	// Exact is the new path.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Exact *string `json:"exact,omitempty"`
}

// HTTPGatewayRouteRewrite changes requests on their way to the target. At least one field is set, Prefix and Path not both.
type HTTPGatewayRouteRewrite struct {
	// Prefix rewrite.
	// +optional
	Prefix *GatewayRoutePrefixRewrite `json:"prefix,omitempty"`
	// Path rewrite.
	// +optional
	Path *GatewayRoutePathRewrite `json:"path,omitempty"`
	// Hostname rewrite.
	// +optional
	Hostname *GatewayRouteHostnameRewrite `json:"hostname,omitempty"`
}

// HTTPGatewayRouteMatch selects requests; all given criteria must hold. At least one of Prefix, Path and Hostname is set,
// Prefix and Path not both.
type HTTPGatewayRouteMatch struct {
	// Prefix of the path; the longest prefix wins between routes.
	// +optional
	Prefix *string `json:"prefix,omitempty"`
	// Path is the whole path.
	// +optional
	Path *PathMatch `json:"path,omitempty"`
	// QueryParameters that must match.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +optional
	QueryParameters []QueryParameterMatch `json:"queryParameters,omitempty"`
	// Method of the request.
	// +kubebuilder:validation:Enum=CONNECT;DELETE;GET;HEAD;OPTIONS;PATCH;POST;PUT;TRACE
	// +optional
	Method *string `json:"method,omitempty"`
	// Headers that must match.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Headers []HeaderMatch `json:"headers,omitempty"`
	// Hostname of the request.
	// +optional
	Hostname *HostnameMatch `json:"hostname,omitempty"`
	// Port of the gateway's listener that the route belongs to. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// HTTPGatewayRouteAction says where requests go and how they change.
type HTTPGatewayRouteAction struct {
	// Target of the requests.
	Target GatewayRouteTarget `json:"target"`
	// Rewrite of the requests. Absent: App Mesh's defaults.
	// +optional
	Rewrite *HTTPGatewayRouteRewrite `json:"rewrite,omitempty"`
}

// HTTPGatewayRoute is a gateway's route for HTTP/1 or HTTP/2 requests.
type HTTPGatewayRoute struct {
	// Match selects the requests.
	Match HTTPGatewayRouteMatch `json:"match"`
	// Action says where they go.
	Action HTTPGatewayRouteAction `json:"action"`
}

// GRPCGatewayRouteMatch selects gRPC requests; all given criteria must hold. At least one of ServiceName and Hostname is set.
type GRPCGatewayRouteMatch struct {
	// ServiceName is the fully qualified name of the gRPC service.
	// +optional
	ServiceName *string `json:"serviceName,omitempty"`
	// Hostname of the request.
	// +optional
	Hostname *HostnameMatch `json:"hostname,omitempty"`
	// Metadata that must match.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Metadata []HeaderMatch `json:"metadata,omitempty"`
	// Port of the gateway's listener that the route belongs to. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// GRPCGatewayRouteRewrite changes gRPC requests on their way to the target. The path is never rewritten.
type GRPCGatewayRouteRewrite struct {
	// Hostname rewrite. Absent: the default.
	// +optional
	Hostname *GatewayRouteHostnameRewrite `json:"hostname,omitempty"`
}

// GRPCGatewayRouteAction says where gRPC requests go and how they change.
type GRPCGatewayRouteAction struct {
	// Target of the requests.
	Target GatewayRouteTarget `json:"target"`
	// Rewrite of the requests. Absent: App Mesh's defaults.
	// +optional
	Rewrite *GRPCGatewayRouteRewrite `json:"rewrite,omitempty"`
}

// GRPCGatewayRoute is a gateway's route for gRPC requests.
type GRPCGatewayRoute struct {
	// Match selects the requests.
	Match GRPCGatewayRouteMatch `json:"match"`
	// Action says where they go.
	Action GRPCGatewayRouteAction `json:"action"`
}

// GatewayRouteSpec is the desired state of a GatewayRoute. Of the three route kinds exactly one is set.
type GatewayRouteSpec struct {
	// AWSName is the route's name in the mesh. Absent: <name>_<namespace>. Immutable.
	// +optional
	AWSName *string `json:"awsName,omitempty"`
	// Priority among the gateway's routes; 0 is tried first. Absent: 1000, last.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Priority *int64 `json:"priority,omitempty"`
	// GRPCRoute routes gRPC requests.
	// +optional
	GRPCRoute *GRPCGatewayRoute `json:"grpcRoute,omitempty"`
	// HTTPRoute routes HTTP/1 requests.
	// +optional
	HTTPRoute *HTTPGatewayRoute `json:"httpRoute,omitempty"`
	// HTTP2Route routes HTTP/2 requests.
	// +optional
	HTTP2Route *HTTPGatewayRoute `json:"http2Route,omitempty"`
	// VirtualGatewayRef is the gateway that the route is attached to. Written by the system, immutable.
	// +optional
	VirtualGatewayRef *VirtualGatewayReference `json:"virtualGatewayRef,omitempty"`
	// MeshRef is the route's mesh. Written by the system.
	// +optional
	MeshRef *MeshReference `json:"meshRef,omitempty"`
}

// GatewayRouteStatus is the observed state of a GatewayRoute.
type GatewayRouteStatus struct {
	// GatewayRouteARN is the route's resource name.
	// +optional
	GatewayRouteARN *string `json:"gatewayRouteARN,omitempty"`
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

// GatewayRoute leads requests that arrive at a VirtualGateway to a VirtualService.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.gatewayRouteARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type GatewayRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GatewayRouteSpec `json:"spec,omitempty"`
	// +optional
	Status GatewayRouteStatus `json:"status,omitempty"`
}

// GatewayRouteList is a list of GatewayRoute objects.
//
// +kubebuilder:object:root=true
type GatewayRouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GatewayRoute `json:"items"`
}

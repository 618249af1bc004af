package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// VirtualRouterListener is a port on which services provided by a router are called.
type VirtualRouterListener struct {
	// PortMapping is the listener's port and protocol.
	PortMapping PortMapping `json:"portMapping"`
}

// WeightedTarget is a share of a route's traffic. Of VirtualNodeRef and VirtualNodeARN exactly one is set.
type WeightedTarget struct {
	// VirtualNodeRef names the target node.
	// +optional
	VirtualNodeRef *Reference `json:"virtualNodeRef,omitempty"`
	// VirtualNodeARN names the target node by its awsName in the router's mesh.
	// +optional
	VirtualNodeARN *string `json:"virtualNodeARN,omitempty"`
	// Weight relative to the route's other targets; 0 keeps a target listed without traffic.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Weight int64 `json:"weight"`
	// Port of the target's listener. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// RouteAction says where a route's traffic goes.
type RouteAction struct {
	// WeightedTargets share the traffic.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	WeightedTargets []WeightedTarget `json:"weightedTargets"`
}

// HTTPRouteMatch selects HTTP requests; all given criteria must hold. Of Prefix and Path exactly one is set.
type HTTPRouteMatch struct {
	// Headers that must match.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Headers []HeaderMatch `json:"headers,omitempty"`
	// Method of the request.
	// +kubebuilder:validation:Enum=CONNECT;DELETE;GET;HEAD;OPTIONS;PATCH;POST;PUT;TRACE
	// +optional
	Method *string `json:"method,omitempty"`
	// Prefix of the path; "/" matches everything.
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
	// Scheme of the request.
	// +kubebuilder:validation:Enum=http;https
	// +optional
	Scheme *string `json:"scheme,omitempty"`
	// Port of the router's listener that the route belongs to. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// HTTPRetryEvent is a kind of HTTP failure that is worth another attempt.
//
// +kubebuilder:validation:Enum=server-error;gateway-error;client-error;stream-error
type HTTPRetryEvent string

// HTTP failures that can be retried.
const (
	// HTTPRetryEventServerError covers 500-508, 510 and 511.
	HTTPRetryEventServerError HTTPRetryEvent = "server-error"
	// HTTPRetryEventGatewayError covers 502, 503 and 504.
	HTTPRetryEventGatewayError HTTPRetryEvent = "gateway-error"
	// HTTPRetryEventClientError covers 409.
	HTTPRetryEventClientError HTTPRetryEvent = "client-error"
	// HTTPRetryEventStreamError covers refused streams.
	HTTPRetryEventStreamError HTTPRetryEvent = "stream-error"
)

// TCPRetryEvent is a kind of connection failure that is worth another attempt.
//
// +kubebuilder:validation:Enum=connection-error
type TCPRetryEvent string

// TCPRetryEventConnectionError covers connections that failed before the request was processed.
const TCPRetryEventConnectionError TCPRetryEvent = "connection-error"

// GRPCRetryEvent is a gRPC status that is worth another attempt.
//
// +kubebuilder:validation:Enum=cancelled;deadline-exceeded;internal;resource-exhausted;unavailable
type GRPCRetryEvent string

// gRPC statuses that can be retried.
const (
	GRPCRetryEventCancelled         GRPCRetryEvent = "cancelled"
	GRPCRetryEventDeadlineExceeded  GRPCRetryEvent = "deadline-exceeded"
	GRPCRetryEventInternal          GRPCRetryEvent = "internal"
	GRPCRetryEventResourceExhausted GRPCRetryEvent = "resource-exhausted"
	GRPCRetryEventUnavailable       GRPCRetryEvent = "unavailable"
)

// HTTPRetryPolicy says which requests of an http or http2 route are tried again.
type HTTPRetryPolicy struct {
	// HTTPRetryEvents that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=25
	// +optional
	HTTPRetryEvents []HTTPRetryEvent `json:"httpRetryEvents,omitempty"`
	// TCPRetryEvents that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1
	// +optional
	TCPRetryEvents []TCPRetryEvent `json:"tcpRetryEvents,omitempty"`
	// MaxRetries is the count of attempts after the first.
	// +kubebuilder:validation:Minimum=0
	MaxRetries int64 `json:"maxRetries"`
	// PerRetryTimeout bounds every attempt, the first included.
	PerRetryTimeout Duration `json:"perRetryTimeout"`
}

// HTTPRoute is a route for HTTP/1 or HTTP/2 requests.
type HTTPRoute struct {
	// Match selects the requests.
	Match HTTPRouteMatch `json:"match"`
	// Action says where they go.
	Action RouteAction `json:"action"`
	// RetryPolicy of the requests. Absent: App Mesh's default policy, two retries.
	// +optional
	RetryPolicy *HTTPRetryPolicy `json:"retryPolicy,omitempty"`
	// Timeout of the requests. Absent: 15 s per request, 300 s idle.
	// +optional
	Timeout *HTTPTimeout `json:"timeout,omitempty"`
}

// GRPCRouteMatch selects gRPC requests; all given criteria must hold, none selects every request.
type GRPCRouteMatch struct {
	// MethodName of the call; needs ServiceName.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +optional
	MethodName *string `json:"methodName,omitempty"`
	// ServiceName is the fully qualified name of the gRPC service.
	// +optional
	ServiceName *string `json:"serviceName,omitempty"`
	// Metadata that must match.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Metadata []HeaderMatch `json:"metadata,omitempty"`
	// Port of the router's listener that the route belongs to. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// GRPCRetryPolicy says which requests of a grpc route are tried again.
type GRPCRetryPolicy struct {
	// GRPCRetryEvents that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	// +optional
	GRPCRetryEvents []GRPCRetryEvent `json:"grpcRetryEvents,omitempty"`
	// HTTPRetryEvents that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=25
	// +optional
	HTTPRetryEvents []HTTPRetryEvent `json:"httpRetryEvents,omitempty"`
	// TCPRetryEvents that count.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1
	// +optional
	TCPRetryEvents []TCPRetryEvent `json:"tcpRetryEvents,omitempty"`
	// MaxRetries is the count of attempts after the first.
	// +kubebuilder:validation:Minimum=0
	MaxRetries int64 `json:"maxRetries"`
	// PerRetryTimeout bounds every attempt, the first included.
	PerRetryTimeout Duration `json:"perRetryTimeout"`
}

// GRPCRoute is a route for gRPC requests.
type GRPCRoute struct {
	// Match selects the requests.
	Match GRPCRouteMatch `json:"match"`
	// Action says where they go.
	Action RouteAction `json:"action"`
	// RetryPolicy of the requests. Absent: App Mesh's default policy, two retries.
	// +optional
	RetryPolicy *GRPCRetryPolicy `json:"retryPolicy,omitempty"`
	// Timeout of the requests. Absent: 15 s per request, 300 s idle.
	// +optional
	Timeout *HTTPTimeout `json:"timeout,omitempty"`
}

// TCPRouteMatch selects tcp connections.
type TCPRouteMatch struct {
	// Port of the router's listener that the route belongs to. Absent: its single listener.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Port *int64 `json:"port,omitempty"`
}

// TCPRoute is a route for tcp connections.
type TCPRoute struct {
	// Match selects the connections. Absent: all.
	// +optional
	Match *TCPRouteMatch `json:"match,omitempty"`
	// Action says where they go.
	Action RouteAction `json:"action"`
	// Timeout of the connections.
	// +optional
	Timeout *TCPTimeout `json:"timeout,omitempty"`
}

// RouteBody is what an inline route and a Route object share. Of the four route kinds exactly one is set.
type RouteBody struct {
	// GRPCRoute routes gRPC requests.
	// +optional
	GRPCRoute *GRPCRoute `json:"grpcRoute,omitempty"`
	// HTTPRoute routes HTTP/1 requests.
	// +optional
	HTTPRoute *HTTPRoute `json:"httpRoute,omitempty"`
	// HTTP2Route routes HTTP/2 requests.
	// +optional
	HTTP2Route *HTTPRoute `json:"http2Route,omitempty"`
	// TCPRoute routes tcp connections.
	// +optional
	TCPRoute *TCPRoute `json:"tcpRoute,omitempty"`
	// Priority among the router's routes; 0 is tried first. Absent: 1000, last.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Priority *int64 `json:"priority,omitempty"`
}

// InlineRoute is a route written within its router.
type InlineRoute struct {
	// Name of the route, unique within the router.
	Name string `json:"name"`
	// RouteBody is the route itself.
	RouteBody `json:",inline"`
}

// VirtualRouterSpec is the desired state of a VirtualRouter.
type VirtualRouterSpec struct {
	// AWSName is the router's name in the mesh. Absent: <name>_<namespace>. Immutable.
	// +optional
	AWSName *string `json:"awsName,omitempty"`
	// Listeners are the ports of services that the router provides. Absent: no port is served.
	// +kubebuilder:validation:MinItems=1
	// +optional
	Listeners []VirtualRouterListener `json:"listeners,omitempty"`
	// Routes written within the router; Route objects add to them.
	// +optional
	Routes []InlineRoute `json:"routes,omitempty"`
	// MeshRef is the router's mesh. Written by the system.
	// +optional
	MeshRef *MeshReference `json:"meshRef,omitempty"`
}

// VirtualRouterStatus is the observed state of a VirtualRouter.
type VirtualRouterStatus struct {
	// VirtualRouterARN is the router's resource name.
	// +optional
	VirtualRouterARN *string `json:"virtualRouterARN,omitempty"`
	// RouteARNs maps each route's name to its resource name.
	// +optional
	RouteARNs map[string]string `json:"routeARNs,omitempty"`
	// Conditions of the router.
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

// VirtualRouter distributes the traffic of VirtualServices over VirtualNodes.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.virtualRouterARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type VirtualRouter struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VirtualRouterSpec `json:"spec,omitempty"`
	// +optional
	Status VirtualRouterStatus `json:"status,omitempty"`
}

// VirtualRouterList is a list of VirtualRouter objects.
//
// +kubebuilder:object:root=true
type VirtualRouterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualRouter `json:"items"`
}

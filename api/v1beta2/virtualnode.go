package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HealthCheckPolicy is the active health check that clients make of a VirtualNode's listener.
type HealthCheckPolicy struct {
	// HealthyThreshold is the count of successes in a row that make an endpoint healthy.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=10
	HealthyThreshold int64 `json:"healthyThreshold"`
	// IntervalMillis is the time between checks.
	// +kubebuilder:validation:Minimum=5000
	// +kubebuilder:validation:Maximum=300000
	IntervalMillis int64 `json:"intervalMillis"`
	// Path of the request; used by http and http2 checks only. Absent: "/".
	// +optional
	Path *string `json:"path,omitempty"`
	// Port to check. Absent: the listener's.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port *int64 `json:"port,omitempty"`
	// Protocol of the check: grpc is gRPC's health protocol, tcp only connects.
	// +kubebuilder:validation:Enum=grpc;http;http2;tcp
	Protocol Protocol `json:"protocol"`
	// TimeoutMillis of one check.
	// +kubebuilder:validation:Minimum=2000
	// +kubebuilder:validation:Maximum=60000
	TimeoutMillis int64 `json:"timeoutMillis"`
	// UnhealthyThreshold is the count of failures in a row that make an endpoint unhealthy.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=10
	UnhealthyThreshold int64 `json:"unhealthyThreshold"`
}

// OutlierDetection ejects endpoints that keep failing; clients of the node apply it.
type OutlierDetection struct {
	// MaxServerErrors is the count of server errors in a row that ejects an endpoint.
	// +kubebuilder:validation:Minimum=1
	MaxServerErrors int64 `json:"maxServerErrors"`
	// Interval between sweeps.
	Interval Duration `json:"interval"`
	// BaseEjectionDuration is the time of a first ejection; it is multiplied by the count of ejections.
	BaseEjectionDuration Duration `json:"baseEjectionDuration"`
	// MaxEjectionPercent bounds the share of ejected endpoints; one may always be ejected.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxEjectionPercent int64 `json:"maxEjectionPercent"`
}

// TCPConnectionPool limits tcp connections.
type TCPConnectionPool struct {
	// MaxConnections at one time.
	// +kubebuilder:validation:Minimum=1
	MaxConnections int64 `json:"maxConnections"`
}

// HTTPConnectionPool limits HTTP/1 connections.
type HTTPConnectionPool struct {
	// MaxConnections at one time.
	// +kubebuilder:validation:Minimum=1
	MaxConnections int64 `json:"maxConnections"`
	// MaxPendingRequests wait for a connection. Absent: 2147483647.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxPendingRequests *int64 `json:"maxPendingRequests,omitempty"`
}

// HTTP2ConnectionPool limits HTTP/2 and gRPC requests.
type HTTP2ConnectionPool struct {
	// MaxRequests in flight.
	// +kubebuilder:validation:Minimum=1
	MaxRequests int64 `json:"maxRequests"`
}

// ConnectionPool limits what a VirtualNode's Envoy passes to its application. It is a union: one field is set, that of
// the listener's protocol.
type ConnectionPool struct {
	// TCP limits of a tcp listener.
	// +optional
	TCP *TCPConnectionPool `json:"tcp,omitempty"`
	// HTTP limits of an http listener.
	// +optional
	HTTP *HTTPConnectionPool `json:"http,omitempty"`
	// HTTP2 limits of an http2 listener.
	// +optional
	HTTP2 *HTTP2ConnectionPool `json:"http2,omitempty"`
	// GRPC limits of a grpc listener.
	// +optional
	GRPC *HTTP2ConnectionPool `json:"grpc,omitempty"`
}

// ListenerTLS terminates TLS on a VirtualNode's listener.
type ListenerTLS struct {
	// Certificate the listener shows; required even when Mode is DISABLED.
	Certificate ListenerTLSCertificate `json:"certificate"`
	// Validation of client certificates. Absent: clients need none.
	// +optional
	Validation *ListenerTLSValidation `json:"validation,omitempty"`
	// Mode says whether plaintext is accepted.
	// +kubebuilder:validation:Enum=DISABLED;PERMISSIVE;STRICT
	Mode TLSMode `json:"mode"`
}

// HTTPTimeout bounds HTTP and gRPC requests.
type HTTPTimeout struct {
	// PerRequest bounds a whole request. Absent: 15 s; zero: unbounded.
	// +optional
	PerRequest *Duration `json:"perRequest,omitempty"`
	// Idle bounds the time without activity. Absent: 300 s; zero: unbounded.
	// +optional
	Idle *Duration `json:"idle,omitempty"`
}

// TCPTimeout bounds tcp connections.
type TCPTimeout struct {
	// Idle bounds the time without activity; zero: unbounded.
	// +optional
	Idle *Duration `json:"idle,omitempty"`
}

// ListenerTimeout is a union: one field is set, that of the listener's protocol.
type ListenerTimeout struct {
	// TCP timeouts of a tcp listener.
	// +optional
	TCP *TCPTimeout `json:"tcp,omitempty"`
	// HTTP timeouts of an http listener.
	// +optional
	HTTP *HTTPTimeout `json:"http,omitempty"`
	// HTTP2 timeouts of an http2 listener.
	// +optional
	HTTP2 *HTTPTimeout `json:"http2,omitempty"`
	// GRPC timeouts of a grpc listener.
	// +optional
	GRPC *HTTPTimeout `json:"grpc,omitempty"`
}

// Listener is a port on which a VirtualNode receives traffic.
type Listener struct {
	// PortMapping is the listener's port and protocol.
	PortMapping PortMapping `json:"portMapping"`
	// HealthCheck that clients make. Absent: none.
	// +optional
	HealthCheck *HealthCheckPolicy `json:"healthCheck,omitempty"`
	// OutlierDetection that clients apply. Absent: none.
	// +optional
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
	// ConnectionPool towards the application. Absent: unlimited.
	// +optional
	ConnectionPool *ConnectionPool `json:"connectionPool,omitempty"`
	// TLS termination. Absent: plaintext.
	// +optional
	TLS *ListenerTLS `json:"tls,omitempty"`
	// Timeout of requests and connections.
	// +optional
	Timeout *ListenerTimeout `json:"timeout,omitempty"`
}

// DNSResponseType says how the addresses of a DNS answer are used.
type DNSResponseType string

// Kinds of DNS answer.
const (
	// DNSResponseTypeLoadBalancer uses one address at a time. This is the default.
	DNSResponseTypeLoadBalancer DNSResponseType = "LOADBALANCER"
	// DNSResponseTypeEndpoints makes every address an endpoint.
	DNSResponseTypeEndpoints DNSResponseType = "ENDPOINTS"
)

// DNSServiceDiscovery finds a node by host name.
type DNSServiceDiscovery struct {
	// Hostname that clients resolve.
	Hostname string `json:"hostname"`
	// ResponseType says how addresses are used. Absent: LOADBALANCER.
	// +kubebuilder:validation:Enum=ENDPOINTS;LOADBALANCER
	// +optional
	ResponseType *DNSResponseType `json:"responseType,omitempty"`
}

// AWSCloudMapInstanceAttribute is a pair that instances carry.
type AWSCloudMapInstanceAttribute struct {
	// Key of the attribute.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Key string `json:"key"`
	// Value of the attribute.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value"`
}

// AWSCloudMapServiceDiscovery finds a node by a name that Cloud Map held; pods are registered within the cluster instead.
type AWSCloudMapServiceDiscovery struct {
	// NamespaceName of the Cloud Map namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	NamespaceName string `json:"namespaceName"`
	// ServiceName of the Cloud Map service.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ServiceName string `json:"serviceName"`
	// Attributes that instances must carry, and that this node's instances are given.
	// +optional
	Attributes []AWSCloudMapInstanceAttribute `json:"attributes,omitempty"`
}

// ServiceDiscovery is a union: exactly one field is set.
type ServiceDiscovery struct {
	// AWSCloudMap discovery by Cloud Map names.
	// +optional
	AWSCloudMap *AWSCloudMapServiceDiscovery `json:"awsCloudMap,omitempty"`
	// DNS discovery by host name.
	// +optional
	DNS *DNSServiceDiscovery `json:"dns,omitempty"`
}

// VirtualServiceBackend is a VirtualService that a node may call. Of VirtualServiceRef and VirtualServiceARN exactly one is set.
type VirtualServiceBackend struct {
	// VirtualServiceRef names the service.
	// +optional
	VirtualServiceRef *Reference `json:"virtualServiceRef,omitempty"`
	// VirtualServiceARN names the service by its awsName in the same mesh.
	// +optional
	VirtualServiceARN *string `json:"virtualServiceARN,omitempty"`
	// ClientPolicy replaces the node's default policy for this backend.
	// +optional
	ClientPolicy *ClientPolicy `json:"clientPolicy,omitempty"`
}

// Backend is a service that a node may call.
type Backend struct {
	// VirtualService is the only kind of backend.
	VirtualService VirtualServiceBackend `json:"virtualService"`
}

// VirtualNodeSpec is the desired state of a VirtualNode.
type VirtualNodeSpec struct {
	// AWSName is the node's name in the mesh. Absent: <name>_<namespace>. Immutable.
	// +optional
	AWSName *string `json:"awsName,omitempty"`
	// PodSelector selects the pods of this namespace that run as this node. Absent: none; empty: all.
	// +optional
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
	// Listeners on which the node receives traffic. Absent or empty: none.
	// +kubebuilder:validation:MinItems=0
	// +optional
	Listeners []Listener `json:"listeners,omitempty"`
	// ServiceDiscovery says how clients find the node; required with listeners.
	// +optional
	ServiceDiscovery *ServiceDiscovery `json:"serviceDiscovery,omitempty"`
	// Backends are the services the node may call.
	// +optional
	Backends []Backend `json:"backends,omitempty"`
	// BackendGroups are sets of further backends; the name "*" stands for every VirtualService of the namespace. They
	// take effect only when the operator enables them.
	// +optional
	BackendGroups []Reference `json:"backendGroups,omitempty"`
	// BackendDefaults for backends without a policy of their own.
	// +optional
	BackendDefaults *BackendDefaults `json:"backendDefaults,omitempty"`
	// Logging of the node's Envoy. Absent: no access log.
	// +optional
	Logging *Logging `json:"logging,omitempty"`
	// MeshRef is the node's mesh. Written by the system.
	// +optional
	MeshRef *MeshReference `json:"meshRef,omitempty"`
}

// VirtualNodeStatus is the observed state of a VirtualNode.
type VirtualNodeStatus struct {
	// VirtualNodeARN is the node's resource name.
	// +optional
	VirtualNodeARN *string `json:"virtualNodeARN,omitempty"`
	// Conditions of the node.
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

// VirtualNode is a workload: a group of pods, or a host outside the cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.virtualNodeARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type VirtualNode struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VirtualNodeSpec `json:"spec,omitempty"`
	// +optional
	Status VirtualNodeStatus `json:"status,omitempty"`
}

// VirtualNodeList is a list of VirtualNode objects.
//
// +kubebuilder:object:root=true
type VirtualNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualNode `json:"items"`
}

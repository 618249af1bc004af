package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// VirtualGatewayPortMapping is the port and protocol of a gateway's listener.
type VirtualGatewayPortMapping struct {
	// Port the listener serves.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int64 `json:"port"`
	// Protocol spoken on the port.
	// +kubebuilder:validation:Enum=grpc;http;http2
	Protocol Protocol `json:"protocol"`
}

// VirtualGatewayHealthCheckPolicy is the health check of a gateway's listener.
type VirtualGatewayHealthCheckPolicy struct {
	// HealthyThreshold is the count of successes in a row that make the listener healthy. Absent: 2.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=10
	// +optional
	HealthyThreshold *int64 `json:"healthyThreshold,omitempty"`
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
	// Protocol of the check.
	// +kubebuilder:validation:Enum=grpc;http;http2
	Protocol Protocol `json:"protocol"`
	// TimeoutMillis of one check.
	// +kubebuilder:validation:Minimum=2000
	// +kubebuilder:validation:Maximum=60000
	TimeoutMillis int64 `json:"timeoutMillis"`
	// UnhealthyThreshold is the count of failures in a row that make the listener unhealthy.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=10
	UnhealthyThreshold int64 `json:"unhealthyThreshold"`
}

// VirtualGatewayConnectionPool limits what a gateway's listener accepts. It is a union: one field is set, that of the
// listener's protocol.
type VirtualGatewayConnectionPool struct {
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

// VirtualGatewayListenerTLS terminates TLS on a gateway's listener.
type VirtualGatewayListenerTLS struct {
	// Certificate the listener shows; required even when Mode is DISABLED.
	Certificate ListenerTLSCertificate `json:"certificate"`
	// Validation of client certificates. Absent: clients need none.
	// +optional
	Validation *TLSValidation `json:"validation,omitempty"`
	// Mode says whether plaintext is accepted.
	// +kubebuilder:validation:Enum=DISABLED;PERMISSIVE;STRICT
	Mode TLSMode `json:"mode"`
}

// VirtualGatewayListener is a port on which a gateway receives traffic from outside the mesh.
type VirtualGatewayListener struct {
	// PortMapping is the listener's port and protocol.
	PortMapping VirtualGatewayPortMapping `json:"portMapping"`
	// HealthCheck of the listener. Absent: none.
	// +optional
	HealthCheck *VirtualGatewayHealthCheckPolicy `json:"healthCheck,omitempty"`
	// ConnectionPool limits. Absent: unlimited.
	// +optional
	ConnectionPool *VirtualGatewayConnectionPool `json:"connectionPool,omitempty"`
	// TLS termination. Absent: plaintext.
	// +optional
	TLS *VirtualGatewayListenerTLS `json:"tls,omitempty"`
}

// VirtualGatewaySpec is the desired state of a VirtualGateway.
type VirtualGatewaySpec struct {
	// AWSName is the gateway's name in the mesh. Absent: <name>_<namespace>. Immutable.
	// +optional
	AWSName *string `json:"awsName,omitempty"`
	// NamespaceSelector selects the namespaces whose GatewayRoutes may attach. Absent: none, not even the gateway's own;
	// empty: all.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// GatewayRouteSelector further restricts by the labels of GatewayRoutes. Absent or empty: all.
	// +optional
	GatewayRouteSelector *metav1.LabelSelector `json:"gatewayRouteSelector,omitempty"`
	// PodSelector selects the pods of this namespace that run as this gateway. Absent: none; empty: all.
	// +optional
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
	// Listeners on which the gateway receives traffic.
	// +kubebuilder:validation:MinItems=0
	// +optional
	Listeners []VirtualGatewayListener `json:"listeners,omitempty"`
	// BackendDefaults of connections to services of the mesh.
	// +optional
	BackendDefaults *BackendDefaults `json:"backendDefaults,omitempty"`
	// Logging of the gateway's Envoy. Absent: no access log.
	// +optional
	Logging *Logging `json:"logging,omitempty"`
	// MeshRef is the gateway's mesh. Written by the system.
	// +optional
	MeshRef *MeshReference `json:"meshRef,omitempty"`
}

// VirtualGatewayStatus is the observed state of a VirtualGateway.
type VirtualGatewayStatus struct {
	// VirtualGatewayARN is the gateway's resource name.
	// +optional
	VirtualGatewayARN *string `json:"virtualGatewayARN,omitempty"`
	// Conditions of the gateway.
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

// VirtualGateway lets traffic from outside into the mesh.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all
// +kubebuilder:printcolumn:name="ARN",type="string",JSONPath=".status.virtualGatewayARN"
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="READY",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="PROGRAMMED",type="string",JSONPath=".status.proxies"
// +kubebuilder:printcolumn:name="MESSAGE",type="string",JSONPath=".status.conditions[?(@.type=='Ready')].message",priority=1
// +kubebuilder:pruning:PreserveUnknownFields
type VirtualGateway struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VirtualGatewaySpec `json:"spec,omitempty"`
	// +optional
	Status VirtualGatewayStatus `json:"status,omitempty"`
}

// VirtualGatewayList is a list of VirtualGateway objects.
//
// +kubebuilder:object:root=true
type VirtualGatewayList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualGateway `json:"items"`
}

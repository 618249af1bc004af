package v1beta2

import (
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Units of Duration. No other unit exists.
const (
	UnitSeconds      = "s"
	UnitMilliseconds = "ms"
)

// Duration is a time span in seconds or milliseconds. Zero is legal everywhere; for timeouts it means "no timeout".
type Duration struct {
	// Unit of Value: "s" or "ms".
	// +kubebuilder:validation:Enum=s;ms
	Unit string `json:"unit"`
	// Value is the count of units, at least 0.
	// +kubebuilder:validation:Minimum=0
	Value int64 `json:"value"`
}

// Duration converts to Go's type. A count that does not fit (292 years) becomes the longest Go duration; a unit that the
// schema would have refused counts as seconds.
func (d Duration) Duration() time.Duration {
	unit := time.Second
	if d.Unit == UnitMilliseconds {
		unit = time.Millisecond
	}
	if d.Value > int64(math.MaxInt64/unit) {
		return math.MaxInt64
	}
	return time.Duration(d.Value) * unit
}

// MeshReference names the Mesh that an object belongs to. The webhook or the operator writes it when the object joins.
type MeshReference struct {
	// Name of the Mesh object.
	Name string `json:"name"`
	// UID of the Mesh object; a Mesh of the same name with another UID is a different mesh.
	UID types.UID `json:"uid"`
}

// VirtualGatewayReference names the VirtualGateway that a GatewayRoute is attached to. The webhook or the operator writes it.
type VirtualGatewayReference struct {
	// Namespace of the VirtualGateway. Absent or empty: the namespace of the referring object.
	// +optional
	Namespace *string `json:"namespace,omitempty"`
	// Name of the VirtualGateway object.
	Name string `json:"name"`
	// UID of the VirtualGateway object; a gateway of the same name with another UID is a different gateway.
	UID types.UID `json:"uid"`
}

// NamespaceOr returns the namespace of the gateway, or namespace when the reference carries none.
func (r VirtualGatewayReference) NamespaceOr(namespace string) string {
	if r.Namespace == nil || *r.Namespace == "" {
		return namespace
	}
	return *r.Namespace
}

// Reference names a VirtualNode, VirtualService, VirtualRouter or BackendGroup by its Kubernetes name (not its awsName).
type Reference struct {
	// Namespace of the referent. Absent or empty: the namespace of the referring object.
	// +optional
	Namespace *string `json:"namespace,omitempty"`
	// Name of the referent.
	Name string `json:"name"`
}

// NamespaceOr returns the namespace of the referent, or namespace (the referring object's) when the reference carries none.
func (r Reference) NamespaceOr(namespace string) string {
	if r.Namespace == nil || *r.Namespace == "" {
		return namespace
	}
	return *r.Namespace
}

// Resolve returns the full name of the referent; namespace is the referring object's.
func (r Reference) Resolve(namespace string) types.NamespacedName {
	return types.NamespacedName{Namespace: r.NamespaceOr(namespace), Name: r.Name}
}

// LocalReference names an object of the referring object's own namespace.
type LocalReference struct {
	// Name of the referent.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// Protocol is the application protocol of a listener or health check.
type Protocol string

// Application protocols. Gateways know no tcp. There is no https.
const (
	ProtocolGRPC  Protocol = "grpc"
	ProtocolHTTP  Protocol = "http"
	ProtocolHTTP2 Protocol = "http2"
	ProtocolTCP   Protocol = "tcp"
)

// PortMapping is the port and protocol of a listener of a VirtualNode or VirtualRouter.
type PortMapping struct {
	// Port the listener serves.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int64 `json:"port"`
	// Protocol spoken on the port; http also permits an upgrade to WebSocket.
	// +kubebuilder:validation:Enum=grpc;http;http2;tcp
	Protocol Protocol `json:"protocol"`
}

// Condition is one observation about an object. It has the five fields of App Mesh's own condition type and the
// generation it was made for; all are written each time.
type Condition struct {
	// Type of the observation, for example "Accepted".
	Type string `json:"type"`
	// Status is True, False or Unknown.
	Status metav1.ConditionStatus `json:"status"`
	// LastTransitionTime is when Status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitzero"`
	// Reason is a CamelCase word for programs. Empty on the <Kind>Active conditions that are True.
	// +optional
	Reason string `json:"reason"`
	// Message is a sentence for people.
	// +optional
	Message string `json:"message"`
	// ObservedGeneration is the metadata.generation the observation was made for.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

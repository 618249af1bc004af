package v1beta2

import (
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Object is any of the kinds of this package.
//
// +kubebuilder:object:generate=false
type Object interface {
	runtime.Object
	metav1.Object
	// Common gives access to the fields that several kinds share.
	Common() Common
}

// Common points at the fields of one object that several kinds share, for code that treats all kinds alike. A pointer is
// nil where the kind has no such field; whoever may write the object may write through the others.
//
// +kubebuilder:object:generate=false
type Common struct {
	// Kind of the object, for example "VirtualNode"; set even when the object's TypeMeta is empty.
	Kind string
	// AWSName is spec.awsName; nil for Route and BackendGroup.
	AWSName **string
	// MeshRef is spec.meshRef; nil for Mesh and Route.
	MeshRef **MeshReference
	// ARN is the status field with the resource name; nil for BackendGroup.
	ARN **string
	// Conditions is status.conditions.
	Conditions *[]Condition
	// ObservedGeneration is status.observedGeneration.
	ObservedGeneration **int64
	// Proxies is status.proxies.
	Proxies *string
}

// Common implements Object.
func (m *Mesh) Common() Common {
	return Common{"Mesh", &m.Spec.AWSName, nil, &m.Status.MeshARN, &m.Status.Conditions, &m.Status.ObservedGeneration, &m.Status.Proxies}
}

// Common implements Object.
func (n *VirtualNode) Common() Common {
	return Common{"VirtualNode", &n.Spec.AWSName, &n.Spec.MeshRef, &n.Status.VirtualNodeARN, &n.Status.Conditions, &n.Status.ObservedGeneration, &n.Status.Proxies}
}

// Common implements Object.
func (s *VirtualService) Common() Common {
	return Common{"VirtualService", &s.Spec.AWSName, &s.Spec.MeshRef, &s.Status.VirtualServiceARN, &s.Status.Conditions, &s.Status.ObservedGeneration, &s.Status.Proxies}
}

// Common implements Object.
func (r *VirtualRouter) Common() Common {
	return Common{"VirtualRouter", &r.Spec.AWSName, &r.Spec.MeshRef, &r.Status.VirtualRouterARN, &r.Status.Conditions, &r.Status.ObservedGeneration, &r.Status.Proxies}
}

// Common implements Object.
func (r *Route) Common() Common {
	return Common{"Route", nil, nil, &r.Status.RouteARN, &r.Status.Conditions, &r.Status.ObservedGeneration, &r.Status.Proxies}
}

// Common implements Object.
func (g *VirtualGateway) Common() Common {
	return Common{"VirtualGateway", &g.Spec.AWSName, &g.Spec.MeshRef, &g.Status.VirtualGatewayARN, &g.Status.Conditions, &g.Status.ObservedGeneration, &g.Status.Proxies}
}

// Common implements Object.
func (r *GatewayRoute) Common() Common {
	return Common{"GatewayRoute", &r.Spec.AWSName, &r.Spec.MeshRef, &r.Status.GatewayRouteARN, &r.Status.Conditions, &r.Status.ObservedGeneration, &r.Status.Proxies}
}

// Common implements Object.
func (g *BackendGroup) Common() Common {
	return Common{"BackendGroup", nil, &g.Spec.MeshRef, nil, &g.Status.Conditions, &g.Status.ObservedGeneration, &g.Status.Proxies}
}

// DefaultName is the name of obj in its mesh when it has no awsName: its name, or its name and its namespace with the kind's Suffix between
// them. It is empty while the object has no name yet (metadata.generateName), because a name made of the namespace alone would be shared
// by all such objects.
func DefaultName(obj Object) string {
	name := obj.GetName()
	if name == "" {
		return ""
	}
	if suffix := KindOf(obj.Common().Kind).Suffix; suffix != "" {
		name += suffix + obj.GetNamespace()
	}
	return name
}

// EffectiveName is the name of obj in its mesh: awsName, or DefaultName when awsName is absent or empty.
func EffectiveName(obj Object) string {
	if field := obj.Common().AWSName; field != nil && *field != nil && **field != "" {
		return **field
	}
	return DefaultName(obj)
}

// WithSpec returns a copy of obj with the specification of another object of its kind. The fields of a specification that the
// operator fills in (awsName, meshRef, virtualGatewayRef) stay those of obj. The specification is shared with the other object.
func WithSpec(obj, of Object) Object {
	out, ok := obj.DeepCopyObject().(Object)
	if !ok || obj.Common().Kind != of.Common().Kind {
		return obj
	}
	spec := func(o Object) reflect.Value { return reflect.ValueOf(o).Elem().FieldByName("Spec") }
	spec(out).Set(spec(of))
	now, then := obj.Common(), out.Common()
	if now.AWSName != nil {
		*then.AWSName = *now.AWSName
	}
	if now.MeshRef != nil {
		*then.MeshRef = *now.MeshRef
	}
	if r, ok := out.(*GatewayRoute); ok {
		r.Spec.VirtualGatewayRef = obj.(*GatewayRoute).Spec.VirtualGatewayRef
	}
	return out
}

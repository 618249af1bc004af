package v1beta2

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ObjectList is a list of any of the kinds of this package.
//
// +kubebuilder:object:generate=false
type ObjectList interface {
	runtime.Object
	metav1.ListInterface
}

// Kind describes one kind of this package.
//
// +kubebuilder:object:generate=false
type Kind struct {
	// Name is the kind of an object, for example "VirtualNode".
	Name string
	// New returns an empty object, NewList an empty list of objects.
	New     func() Object
	NewList func() ObjectList
	// Cluster says that its objects have no namespace.
	Cluster bool
	// Suffix stands between name and namespace in the name that an object has in its mesh without an awsName; empty if that is its
	// name alone.
	Suffix string
	// Segment is the type component of resource names; empty where App Mesh had none or one of another form.
	// Source: App Mesh API reference, ARN formats.
	Segment string
	// Immutable is the id of the rule about the fields that an update may not change.
	Immutable string
	// Finalizers are those that the operator adds, in the order in which it does.
	Finalizers []string
}

// Kinds are all kinds of this package. Each comes after the kinds that its objects refer to, apart from a VirtualNode's backends.
var Kinds = []Kind{
	{
		Name: "Mesh", New: object[Mesh], NewList: list[MeshList], Cluster: true, Immutable: "M1",
		Finalizers: []string{FinalizerMeshMembers, FinalizerResources},
	},
	{
		Name: "VirtualNode", New: object[VirtualNode], NewList: list[VirtualNodeList], Suffix: "_", Segment: "virtualNode", Immutable: "N2",
		Finalizers: []string{FinalizerResources},
	},
	{
		Name: "VirtualRouter", New: object[VirtualRouter], NewList: list[VirtualRouterList], Suffix: "_", Segment: "virtualRouter", Immutable: "R1",
		Finalizers: []string{FinalizerResources},
	},
	{Name: "Route", New: object[Route], NewList: list[RouteList], Segment: "virtualRouter", Immutable: "P1"},
	{
		Name: "VirtualService", New: object[VirtualService], NewList: list[VirtualServiceList], Suffix: ".", Segment: "virtualService", Immutable: "S1",
		Finalizers: []string{FinalizerResources},
	},
	{Name: "BackendGroup", New: object[BackendGroup], NewList: list[BackendGroupList], Immutable: "B1"},
	{
		Name: "VirtualGateway", New: object[VirtualGateway], NewList: list[VirtualGatewayList], Suffix: "_", Segment: "virtualGateway", Immutable: "G1",
		Finalizers: []string{FinalizerVirtualGatewayMembers, FinalizerResources},
	},
	{
		Name: "GatewayRoute", New: object[GatewayRoute], NewList: list[GatewayRouteList], Suffix: "_", Immutable: "T1",
		Finalizers: []string{FinalizerResources},
	},
}

// KindOf returns the description of a kind; nil if this package has none of the name.
func KindOf(name string) *Kind {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return nil
	}
	return &Kinds[i]
}

// NewObject returns an empty object of the kind; nil if this package has none of the name.
func NewObject(kind string) Object {
	if k := KindOf(kind); k != nil {
		return k.New()
	}
	return nil
}

func object[T any, P interface {
	*T
	Object
}]() Object {
	return P(new(T))
}

func list[T any, P interface {
	*T
	ObjectList
}]() ObjectList {
	return P(new(T))
}

// addKnownTypes registers every kind under GroupVersion; it cannot fail.
func addKnownTypes(scheme *runtime.Scheme) error {
	for _, k := range Kinds {
		scheme.AddKnownTypes(GroupVersion, k.New(), k.NewList())
	}
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

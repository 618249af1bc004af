package membership

import (
	"fmt"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// GivenMesh judges a meshRef that comes with a new object of a kind. It may be absent, or name the mesh that the object joins, as
// it does in objects exported from this cluster; the message says what else is wrong. A UID that is unknown on one side, as in
// files, decides nothing.
func GivenMesh(kind string, given *meshv1beta2.MeshReference, found meshv1beta2.MeshReference) string {
	if given == nil || *given == (meshv1beta2.MeshReference{}) || given.Name == found.Name && same(given.UID, found.UID) {
		return ""
	}
	return fmt.Sprintf("%s create may not specify read-only field: spec.meshRef; remove it, the object joins mesh %s", kind, found.Name)
}

// GivenGateway does the same for the virtualGatewayRef of a new GatewayRoute.
func GivenGateway(kind string, given *meshv1beta2.VirtualGatewayReference, found *meshv1beta2.VirtualGateway) string {
	if given == nil || *given == (meshv1beta2.VirtualGatewayReference{}) ||
		given.Name == found.Name && given.NamespaceOr(found.Namespace) == found.Namespace && same(given.UID, found.UID) {
		return ""
	}
	return fmt.Sprintf("%s create may not specify read-only field: spec.virtualGatewayRef; remove it, the route is attached to %s/%s",
		kind, found.Namespace, found.Name)
}

func same[T ~string](given, found T) bool { return given == "" || found == "" || given == found }

package v1beta2

// Finalizers of this group. The names are those of App Mesh's controller, so that objects that it left behind are taken over.
const (
	// FinalizerMeshMembers keeps a Mesh while it has members; backend groups are none.
	FinalizerMeshMembers = "finalizers.appmesh.k8s.aws/mesh-members"
	// FinalizerVirtualGatewayMembers keeps a VirtualGateway while GatewayRoutes are attached to it.
	FinalizerVirtualGatewayMembers = "finalizers.appmesh.k8s.aws/virtualgateway-members"
	// FinalizerResources keeps an object while others depend on it, and until proxies have stopped using it.
	FinalizerResources = "finalizers.appmesh.k8s.aws/aws-appmesh-resources"
	// FinalizerCloudMap protects nothing here; it is taken off wherever App Mesh's controller left it.
	FinalizerCloudMap = "finalizers.appmesh.k8s.aws/aws-cloudmap-resources"
)

// Finalizers lists all of them, in the order in which they are released.
func Finalizers() []string {
	return []string{FinalizerCloudMap, FinalizerMeshMembers, FinalizerVirtualGatewayMembers, FinalizerResources}
}

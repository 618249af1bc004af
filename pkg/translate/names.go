package translate

// Ports inside the pod. Source: App Mesh controller, sidecar injector.
const (
	inboundPort  = 15000
	outboundPort = 15001
)

// inspectedListener sorts before the outbound listener, so that Envoy has it first.
const inspectedListener = "egress_inspected"

// sdsCluster is the cluster of the bootstrap that leads to the pod's own provider of secrets. Source: App Mesh, Envoy image.
const sdsCluster = "static_cluster_sds_unix_socket"

package translate

import (
	"fmt"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Ports inside the pod. Source: App Mesh controller, sidecar injector.
const (
	inboundPort  = 15000
	outboundPort = 15001
)

const (
	inboundListener  = "lds_ingress_0.0.0.0_15000"
	outboundListener = "lds_egress_0.0.0.0_15001"
	// inspectedListener sorts before outboundListener, so that Envoy has it first.
	inspectedListener = "egress_inspected"
	// The statistics of listeners keep App Mesh's names whatever address they are bound to.
	inboundStats  = "0.0.0.0_15000"
	outboundStats = "0.0.0.0_15001"
)

// sdsCluster is the cluster of the bootstrap that leads to the pod's own provider of secrets. Source: App Mesh, Envoy image.
const sdsCluster = "static_cluster_sds_unix_socket"

// The virtual hosts that are no user's. Source: dumps of App Mesh's configuration.
const (
	// passThroughHost takes unknown hosts where the mesh lets them through.
	passThroughHost = "mesh_allow_all"
	// entranceHost takes the hosts of a gateway that no route names.
	entranceHost = "self_redirect"
	// headerHost takes the requests of a gateway whose service is told by header.
	headerHost = "default_backend"
)

// HostName is the name of the virtual host of a host that a user wrote. It is the host itself, as in App Mesh, unless that is the name of
// one of our own virtual hosts. Hosts contain no slash, so no two of them give the same name and none gives one of ours.
func HostName(host string) string {
	switch host {
	case passThroughHost, entranceHost, headerHost:
		return host + "/host"
	default:
		return host
	}
}

func localCluster(id mesh.WorkloadID, l *mesh.Listener) string {
	return fmt.Sprintf("cds_ingress_%s_%s_%s_%d", id.Mesh, id.Name, l.Protocol, l.Port)
}

func inboundRoutes(l *mesh.Listener) string {
	return fmt.Sprintf("rds_ingress_%s_%d", l.Protocol, l.Port)
}

func outboundRoutes(p *mesh.OutboundPort) string {
	return fmt.Sprintf("rds_egress_%s_%d", p.Protocol, p.Port)
}

func passThroughCluster(meshName string) string { return "cds_egress_" + meshName + "_mesh-allow-all" }
func amazonCluster(meshName string) string      { return "cds_egress_" + meshName + "_amazonaws" }
func closedCluster(meshName string) string      { return "cds_egress_" + meshName + "_blackhole" }

func inspectedCluster(meshName string) string { return "cds_egress_" + meshName + "_inspected" }

// inspectedPipe is the address of the inspecting listener: an abstract socket, which needs neither a port nor a file and exists in the
// pod's network namespace only. It differs by workload because proxies of several may share a namespace outside of Kubernetes.
func inspectedPipe(id mesh.WorkloadID) string {
	return "@aftermesh_egress_" + mesh.Combine(id.String()).String()[:16]
}

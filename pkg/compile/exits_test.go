package compile_test

import (
	"fmt"
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// TestClosedConnectionsLeadToAClusterThatExists has a node that may call nothing, because nothing tells its backends apart.
func TestClosedConnectionsLeadToAClusterThatExists(t *testing.T) {
	t.Parallel()
	o := world()
	for i, name := range []string{"one", "two"} {
		add[meshv1beta2.VirtualNode](o, i, "bank", name, fmt.Sprintf("listeners: [{portMapping: {port: 9000, protocol: tcp}}], "+
			"serviceDiscovery: {awsCloudMap: {serviceName: %s, namespaceName: local}}", name))
		add[meshv1beta2.VirtualService](o, i, "bank", name, fmt.Sprintf("awsName: %s, provider: {virtualNode: {virtualNodeRef: {name: %s}}}", name, name))
	}
	add[meshv1beta2.VirtualNode](o, 2, "bank", "caller",
		"backends: [{virtualService: {virtualServiceRef: {name: one}}}, {virtualService: {virtualServiceRef: {name: two}}}]")
	w := workload(t, compiled(o), input.AppMesh("VirtualNode", "bank", "caller"))
	if len(w.Outbound) != 1 || w.Outbound[0].Port != 0 {
		t.Fatalf("the outbound listeners are %+v, want one that closes", w.Outbound)
	}
	to := w.Outbound[0].Targets[0].Cluster
	for _, d := range w.Destinations {
		if d.Cluster == to {
			return
		}
	}
	t.Errorf("the cluster %s is not defined", to)
}

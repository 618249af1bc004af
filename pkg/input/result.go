package input

import (
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Result is what one pass decided.
type Result struct {
	Model *mesh.Model
	// Problems are sorted by object, the worst first.
	Problems []mesh.Problem
	// Kept maps the objects whose last accepted specification is served in place of the current one to its generation.
	Kept map[mesh.Object]int64
	// Certificates are those that the mesh's authority should issue, by workload.
	Certificates []CertificateRequest
	// Names maps each object that has a mesh to its place in it, for identifiers and tables.
	Names map[mesh.Object]Place
	// Outside are the pods that run without a proxy although they should have one, sorted by namespace and name.
	Outside []Outsider
	// Refused are the pods that are asked in clear text what their listeners take by TLS only, sorted by namespace and name.
	Refused []Refused
}

// Outsider is a pod outside of the mesh. Object is the node or gateway that selects it, empty if none does.
type Outsider struct {
	Pod    *Pod
	Object mesh.Object
}

// Refused is a pod whose probes or scrapes do not pass its listeners. Object is the node that it runs as, Ports are those asked.
type Refused struct {
	Pod    *Pod
	Object mesh.Object
	Ports  []uint32
}

// Place is the mesh and the effective name of an object.
type Place struct {
	// Mesh is the effective name of the mesh; MeshRef names the Mesh object.
	Mesh    string
	MeshRef meshv1beta2.MeshReference
	Name    string
	// Gateway is the effective name of a GatewayRoute's gateway.
	Gateway string
}

package admission

import (
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// Deps are what the webhooks need from the operator.
type Deps struct {
	// Cache reads Namespaces, Meshes and VirtualGateways from informers.
	Cache client.Reader
	// Live reads the same from the API server. It is asked only before something would be denied for absence or ambiguity.
	Live client.Reader
	// Families returns the IP families of the cluster: "4", "6" or "46", empty while unknown, which counts as "4".
	Families func() string
	// Rules are the settings that validation depends on.
	Rules validate.Rules
	// ClusterDomain is the DNS suffix of Services; empty means "cluster.local".
	ClusterDomain string
}

// MutatePath is the path of a kind's mutating webhook: "VirtualNode" gives "/mutate-appmesh-k8s-aws-v1beta2-virtualnode".
func MutatePath(kind string) string {
	return "/mutate-appmesh-k8s-aws-v1beta2-" + strings.ToLower(kind)
}

// ValidatePath is the path of a kind's validating webhook.
func ValidatePath(kind string) string {
	return "/validate-appmesh-k8s-aws-v1beta2-" + strings.ToLower(kind)
}

// Register adds the mutating and the validating webhook of every kind to the server.
func Register(server webhook.Server, deps Deps) {
	for _, k := range meshv1beta2.Kinds {
		server.Register(MutatePath(k.Name), &webhook.Admission{Handler: &Mutator{Kind: k.Name, Deps: deps}})
		server.Register(ValidatePath(k.Name), &webhook.Admission{Handler: &Validator{Object: k.New, Deps: deps}})
	}
}

package v1beta2

import (
	"errors"
	"fmt"
	"strings"
)

// ARN is a resource name in AWS's form, arn:partition:service:region:account:resource. Objects of a mesh are known by such
// names in status and may be referred to by them; account and region have no meaning here.
//
// +kubebuilder:object:generate=false
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// ErrARN is wrapped by the errors of ParseARN and MeshResource.
var ErrARN = errors.New("not a usable ARN")

// String returns the name in AWS's form.
func (a ARN) String() string {
	return strings.Join([]string{"arn", a.Partition, a.Service, a.Region, a.Account, a.Resource}, ":")
}

// ParseARN splits a resource name into its parts. The resource may itself contain colons.
func ParseARN(s string) (ARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return ARN{}, fmt.Errorf("%w: it must have the form arn:partition:service:region:account:resource", ErrARN)
	}
	return ARN{parts[1], parts[2], parts[3], parts[4], parts[5]}, nil
}

// Kinds of resource that references name, as they are spelled within an ARN.
const (
	ARNVirtualNode    = "virtualNode"
	ARNVirtualRouter  = "virtualRouter"
	ARNVirtualService = "virtualService"
	ARNVirtualGateway = "virtualGateway"
)

// MeshResource reads a resource of the form mesh/<mesh>/<kind>/<name>, kind being one of the ARN constants. mesh comes
// without the owner suffix that shared meshes carry; name is the awsName of the object.
func (a ARN) MeshResource(kind string) (mesh, name string, err error) {
	parts := strings.Split(a.Resource, "/")
	if len(parts) != 4 || parts[0] != "mesh" || parts[1] == "" || parts[3] == "" {
		return "", "", fmt.Errorf("%w: its resource must have the form mesh/<mesh>/%s/<name>", ErrARN, kind)
	}
	if parts[2] != kind {
		return "", "", fmt.Errorf("%w: it names a %s, not a %s", ErrARN, parts[2], kind)
	}
	mesh, _, _ = strings.Cut(parts[1], "@")
	return mesh, parts[3], nil
}

// ParseMeshResource is ParseARN followed by MeshResource.
func ParseMeshResource(s, kind string) (mesh, name string, err error) {
	a, err := ParseARN(s)
	if err != nil {
		return "", "", err
	}
	return a.MeshResource(kind)
}

package admission

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// foreignName says why a new object may not have its name: because the name belongs to another namespace of the same mesh. There
// is no reason when it may. What the cache does not know yet is let in: compile gives a name to its owner in any case.
func foreignName(ctx context.Context, deps Deps, o meshv1beta2.Object) ([]string, error) {
	owner, ref := membership.NameOwner(o, deps.ClusterDomain), o.Common().MeshRef
	if owner == "" || owner == o.GetNamespace() || ref == nil || *ref == nil {
		return nil, nil
	}
	for _, reader := range []client.Reader{deps.Cache, deps.Live} {
		member, err := memberOf(ctx, reader, owner, **ref)
		if err != nil || !member {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("the name %q belongs to namespace %s of mesh %s; choose another awsName, or create the object there (%s, spec.awsName)",
		meshv1beta2.EffectiveName(o), owner, (*ref).Name, validate.Name(o))}, nil
}

// memberOf says whether a namespace exists and is one of the mesh.
func memberOf(ctx context.Context, reader client.Reader, namespace string, of meshv1beta2.MeshReference) (bool, error) {
	labels, err := namespaceLabels(ctx, reader, namespace)
	switch denied := (denial{}); {
	case errors.As(err, &denied):
		return false, nil
	case err != nil:
		return false, err
	}
	var m meshv1beta2.Mesh
	switch err := reader.Get(ctx, client.ObjectKey{Name: of.Name}, &m); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read mesh %s: %w", of.Name, err)
	}
	return m.UID == of.UID && membership.Selects(m.Spec.NamespaceSelector, labels), nil
}

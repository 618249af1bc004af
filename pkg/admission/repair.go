package admission

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// repairer lets references change that have lost their referent. A Mesh or VirtualGateway that was deleted by force and made
// anew has another UID, and its members could otherwise never be moved to it.
//
// A reference gets nobody in: it may only be written, at the first time or again, when the Mesh or gateway selects the object now.
type repairer struct{ Deps }

// allow carries such a change over into old, so that it no longer counts as one. What it returns are reasons to deny that are not
// changes of immutable fields.
func (r repairer) allow(ctx context.Context, object, old meshv1beta2.Object) ([]string, error) {
	denials, err := r.mesh(ctx, object, old)
	route, ok := object.(*meshv1beta2.GatewayRoute)
	oldRoute, was := old.(*meshv1beta2.GatewayRoute)
	if err != nil || !ok || !was {
		return denials, err
	}
	more, err := r.gateway(ctx, route, oldRoute)
	return append(denials, more...), err
}

func (r repairer) mesh(ctx context.Context, object, old meshv1beta2.Object) ([]string, error) {
	now, before := object.Common().MeshRef, old.Common().MeshRef
	if now == nil || *now == nil || **now == valueOf(*before) {
		return nil, nil
	}
	was := valueOf(*before)
	gone, err := r.gone(ctx, &meshv1beta2.Mesh{}, target{name: was.Name, uid: was.UID})
	if err != nil || !gone {
		return nil, err
	}
	member, err := memberOf(ctx, r.Live, object.GetNamespace(), **now)
	switch {
	case err != nil:
		return nil, err
	case member:
		*before = *now
		return nil, nil
	case was.Name != "":
		return nil, nil // the change of an immutable field
	}
	return []string{fmt.Sprintf("Mesh %s of this uid does not exist or does not select namespace %s; leave the field out (%s, spec.meshRef)",
		(*now).Name, object.GetNamespace(), validate.Name(object))}, nil
}

func (r repairer) gateway(ctx context.Context, route, old *meshv1beta2.GatewayRoute) ([]string, error) {
	now := route.Spec.VirtualGatewayRef
	if now == nil || sameGateway(route, old) {
		return nil, nil
	}
	was := valueOf(old.Spec.VirtualGatewayRef)
	gone, err := r.gone(ctx, &meshv1beta2.VirtualGateway{}, target{was.NamespaceOr(old.Namespace), was.Name, was.UID})
	if err != nil || !gone {
		return nil, err
	}
	selected, err := r.selects(ctx, route)
	switch {
	case err != nil:
		return nil, err
	case selected:
		old.Spec.VirtualGatewayRef = now
		return nil, nil
	case was.Name != "":
		return nil, nil // the change of an immutable field
	}
	return []string{fmt.Sprintf("VirtualGateway %s/%s of this uid is not in the mesh or does not select the route; leave the field out (%s, spec.virtualGatewayRef)",
		now.NamespaceOr(route.Namespace), now.Name, validate.Name(route))}, nil
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func sameGateway(x, y *meshv1beta2.GatewayRoute) bool {
	a, b := x.Spec.VirtualGatewayRef, y.Spec.VirtualGatewayRef
	return b != nil && a.Name == b.Name && a.UID == b.UID && a.NamespaceOr(x.Namespace) == b.NamespaceOr(y.Namespace)
}

// selects says whether the gateway that a route refers to exists, belongs to the route's mesh and selects the route.
func (r repairer) selects(ctx context.Context, route *meshv1beta2.GatewayRoute) (bool, error) {
	ref := route.Spec.VirtualGatewayRef
	var g meshv1beta2.VirtualGateway
	switch err := r.Live.Get(ctx, client.ObjectKey{Namespace: ref.NamespaceOr(route.Namespace), Name: ref.Name}, &g); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read gateway %s: %w", ref.Name, err)
	}
	labels, err := namespaceLabels(ctx, r.Live, route.Namespace)
	if err != nil {
		return false, err
	}
	return g.UID == ref.UID && valueOf(g.Spec.MeshRef) == valueOf(route.Spec.MeshRef) && membership.SelectsRoute(&g, route, labels), nil
}

// target is one particular object.
type target struct {
	namespace, name string
	uid             types.UID
}

// gone says whether an object is not there any more; one without a name never was. The empty object is of the kind looked for.
func (r repairer) gone(ctx context.Context, into client.Object, t target) (bool, error) {
	if t.name == "" {
		return true, nil
	}
	exists, err := r.exists(ctx, into, t)
	return !exists, err
}

// exists looks for an object of that name and UID, in the cache and then on the API server.
func (r repairer) exists(ctx context.Context, into client.Object, t target) (bool, error) {
	for _, reader := range []client.Reader{r.Cache, r.Live} {
		err := reader.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: t.name}, into)
		switch {
		case err == nil && into.GetUID() == t.uid:
			return true, nil
		case err != nil && !apierrors.IsNotFound(err):
			return false, fmt.Errorf("read %s: %w", t.name, err)
		}
	}
	return false, nil
}

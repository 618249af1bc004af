package admission

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// repairer lets references change that have lost their referent. A Mesh or VirtualGateway that was deleted by force and made
// anew has another UID, and its members could otherwise never be moved to it.
type repairer struct{ Deps }

// allow carries such a change over into old, so that it no longer counts as one.
func (r repairer) allow(ctx context.Context, object, old meshv1beta2.Object) error {
	if now, before := object.Common().MeshRef, old.Common().MeshRef; now != nil && *now != nil && *before != nil && **now != **before {
		replaced, err := r.replaced(ctx, &meshv1beta2.Mesh{}, &meshv1beta2.Mesh{},
			target{name: (*before).Name, uid: (*before).UID}, target{name: (*now).Name, uid: (*now).UID})
		if err != nil {
			return err
		}
		if replaced {
			*before = *now
		}
	}
	route, ok := object.(*meshv1beta2.GatewayRoute)
	if !ok {
		return nil
	}
	oldRoute, ok := old.(*meshv1beta2.GatewayRoute)
	if !ok || route.Spec.VirtualGatewayRef == nil || oldRoute.Spec.VirtualGatewayRef == nil {
		return nil
	}
	now, before := route.Spec.VirtualGatewayRef, oldRoute.Spec.VirtualGatewayRef
	if now.UID == before.UID {
		return nil
	}
	replaced, err := r.replaced(ctx, &meshv1beta2.VirtualGateway{}, &meshv1beta2.VirtualGateway{},
		target{before.NamespaceOr(old.GetNamespace()), before.Name, before.UID}, target{now.NamespaceOr(object.GetNamespace()), now.Name, now.UID})
	if err == nil && replaced {
		oldRoute.Spec.VirtualGatewayRef = now
	}
	return err
}

// target is one particular object.
type target struct {
	namespace, name string
	uid             types.UID
}

// replaced says whether before is gone and after is there. The two empty objects are of the kind looked for.
func (r repairer) replaced(ctx context.Context, a, b client.Object, before, after target) (bool, error) {
	exists, err := r.exists(ctx, a, before)
	if err != nil || exists {
		return false, err
	}
	return r.exists(ctx, b, after)
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

package validate

import (
	"fmt"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// immutable reports, in one finding, all fields that an update may not change.
//
//   - awsName must keep its effective value: giving an object without awsName its default is allowed.
//   - meshRef and virtualGatewayRef may be filled in, but not changed or removed. An operator that replaces a reference to
//     a deleted mesh or gateway is let through by the webhook, which can look whether that one exists.
func immutable(obj, old meshv1beta2.Object) []Finding {
	var changed []string
	now, before := obj.Common(), old.Common()
	if now.AWSName != nil && meshv1beta2.EffectiveName(obj) != meshv1beta2.EffectiveName(old) {
		changed = append(changed, "spec.awsName")
	}
	if now.MeshRef != nil && before.MeshRef != nil && *before.MeshRef != nil && (*now.MeshRef == nil || **now.MeshRef != **before.MeshRef) {
		changed = append(changed, "spec.meshRef")
	}
	switch o := obj.(type) {
	case *meshv1beta2.GatewayRoute:
		if gatewayChanged(o, old) {
			changed = append(changed, "spec.virtualGatewayRef")
		}
	case *meshv1beta2.Route:
		if r, ok := old.(*meshv1beta2.Route); ok && o.Spec.VirtualRouterRef != r.Spec.VirtualRouterRef {
			changed = append(changed, "spec.virtualRouterRef")
		}
	}
	if len(changed) == 0 {
		return nil
	}
	fields := strings.Join(changed, ",")
	return []Finding{{
		Rule:   meshv1beta2.RuleByID(meshv1beta2.KindOf(now.Kind).Immutable),
		Object: Name(obj),
		Path:   changed[0],
		Message: fmt.Sprintf("%s update may not change these fields: %s; leave them out or as they were, or delete the object and create it again",
			now.Kind, fields),
		judged: fields,
	}}
}

func gatewayChanged(obj *meshv1beta2.GatewayRoute, other meshv1beta2.Object) bool {
	old, ok := other.(*meshv1beta2.GatewayRoute)
	if !ok || old.Spec.VirtualGatewayRef == nil {
		return false
	}
	if obj.Spec.VirtualGatewayRef == nil {
		return true
	}
	a, b := obj.Spec.VirtualGatewayRef, old.Spec.VirtualGatewayRef
	return a.Name != b.Name || a.UID != b.UID || a.NamespaceOr(obj.Namespace) != b.NamespaceOr(old.Namespace)
}

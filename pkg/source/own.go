package source

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/admission"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/schema"
)

// addOwn takes in an object of one of our kinds as an API server would store it: unknown fields are left out with a warning,
// defaults are filled in, and what breaks the schema is refused.
func (f *Files) addOwn(d Document, object map[string]any, namespace string) {
	id := identify(d.Kind, object, namespace)
	fault := func(reason, path, format string, args ...any) {
		f.Faults = append(f.Faults, d.fault(id, reason, path, format, args...))
	}
	if other, ok := f.documents[id]; ok {
		fault(ReasonUnreadable, "", "was given before, at %s:%d; remove one of the two", other.File, other.Line)
		return
	}
	kind, err := schema.Of(d.Kind)
	switch {
	case err != nil:
		fault(ReasonUnreadable, "", "cannot be judged: %v", err)
		return
	case kind == nil && meshv1beta2.NewObject(d.Kind.Kind) != nil && d.Kind.Group == meshv1beta2.GroupVersion.Group:
		f.documents[id] = d
		fault(ReasonInvalid, "apiVersion", "%s is not served; write the object in %s, where some fields have other names",
			d.Kind.GroupVersion(), meshv1beta2.GroupVersion)
		f.refuse(id, nil)
		return
	case kind == nil:
		fault(ReasonUnreadable, "kind", "%s has no kind %q", d.Kind.GroupVersion(), d.Kind.Kind)
		return
	}
	f.documents[id] = d
	place(object, kind, id)
	unknown, broken := kind.Decode(object)
	for _, u := range unknown {
		remedy := "remove it"
		if u.Nearest != "" {
			remedy = "did you mean " + u.Nearest + "?"
		}
		f.Warnings = append(f.Warnings, d.fault(id, ReasonUnknownField, u.Path, "unknown field, ignored; %s", remedy))
	}
	if len(broken) == 0 {
		admission.DropEmptyLists(d.Kind.Kind, object)
		broken = kind.Validate(completed(object))
	}
	for _, b := range broken {
		fault(ReasonInvalid, b.Field, "%s", schema.Message(b))
	}
	if len(broken) > 0 {
		f.refuse(id, object)
	} else if err := f.take(d, object); err != nil {
		fault(ReasonUnreadable, "", "cannot be read: %v", err)
	}
}

// take puts a valid object where compile finds it.
func (f *Files) take(d Document, object map[string]any) error {
	if d.Kind.Kind == "MeshSettings" {
		// Secrets are no part of what is read from files, so its certificates map to nothing.
		m := &meshv1alpha1.MeshSettings{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, m); err != nil {
			return err
		}
		f.Objects.Config = append(f.Objects.Config, m)
		return nil
	}
	o := meshv1beta2.NewObject(d.Kind.Kind)
	if o == nil {
		f.skip(d)
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, o); err != nil {
		return err
	}
	f.Objects.Config = append(f.Objects.Config, o)
	return nil
}

// fault says what is wrong with an object of the document.
func (d Document) fault(id mesh.Object, reason, path, format string, args ...any) Fault {
	return Fault{File: d.File, Line: d.line(path), Object: id, Reason: reason, Path: path, Message: fmt.Sprintf(format, args...)}
}

// completed returns an object in which the references that the mutating webhook completes are complete; the object given stays as
// it is.
func completed(object map[string]any) map[string]any {
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return object
	}
	object, spec = maps.Clone(object), maps.Clone(spec)
	object["spec"] = spec
	for _, field := range []string{"meshRef", "virtualGatewayRef"} {
		ref, ok := spec[field].(map[string]any)
		if !ok || ref["uid"] != nil {
			continue
		}
		ref = maps.Clone(ref)
		ref["uid"] = "known to the cluster"
		spec[field] = ref
	}
	return object
}

// Admit treats the objects as new ones, as the mutating webhook does: references to a mesh or gateway that differ from what the
// selectors say are refused. Where the selectors decide nothing, compile says so. Without it the objects count as stored ones.
func (f *Files) Admit() {
	labels := map[string]map[string]string{}
	for _, n := range f.Objects.Namespaces {
		labels[n.Name] = n.Labels
	}
	f.Objects = *f.Objects.Replace(func(o meshv1beta2.Object) meshv1beta2.Object {
		path, message := f.given(o, labels[o.GetNamespace()])
		if message == "" {
			return o
		}
		id := input.ID(o)
		f.Faults = append(f.Faults, f.documents[id].fault(id, ReasonReadOnlyField, path, "%s", message))
		f.Refused = append(f.Refused, Refused{Object: o})
		return nil
	})
}

// given judges the references of an object; the message is empty if nothing is wrong.
func (f *Files) given(o meshv1beta2.Object, labels map[string]string) (path, message string) {
	kind := o.Common().Kind
	if ref := o.Common().MeshRef; ref != nil && *ref != nil {
		found, problem := membership.DesignateMesh(input.Of[*meshv1beta2.Mesh](&f.Objects), o.GetNamespace(), labels)
		if problem == nil {
			if message = membership.GivenMesh(kind, *ref, meshv1beta2.MeshReference{Name: found.Name, UID: found.UID}); message != "" {
				return "spec.meshRef", message
			}
			f.exported(o, "spec.meshRef", (*ref).UID, found)
		}
	}
	if r, ok := o.(*meshv1beta2.GatewayRoute); ok && r.Spec.VirtualGatewayRef != nil {
		found, problem := membership.DesignateGateway(input.Of[*meshv1beta2.VirtualGateway](&f.Objects), r, labels, func(*meshv1beta2.VirtualGateway) bool { return true })
		if problem == nil {
			if message = membership.GivenGateway(kind, r.Spec.VirtualGatewayRef, found); message != "" {
				return "spec.virtualGatewayRef", message
			}
			f.exported(o, "spec.virtualGatewayRef", r.Spec.VirtualGatewayRef.UID, found)
		}
	}
	return "", ""
}

// exported warns of a reference with a UID that these manifests cannot confirm.
func (f *Files) exported(o meshv1beta2.Object, path string, uid types.UID, found meshv1beta2.Object) {
	if uid == "" || found.GetUID() != "" {
		return
	}
	id := input.ID(o)
	f.Warnings = append(f.Warnings, f.documents[id].fault(id, ReasonReadOnlyField, path,
		"a cluster refuses a new object with this field unless its %s has uid %s; remove the field", input.ID(found), uid))
}

// refuse notes an object that is left out, with what can be read of it.
func (f *Files) refuse(id mesh.Object, object map[string]any) {
	o := meshv1beta2.NewObject(id.Kind)
	if o == nil {
		return
	}
	bare := object == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(object, o) != nil
	if bare {
		o = meshv1beta2.NewObject(id.Kind)
	}
	o.SetNamespace(id.Namespace)
	o.SetName(id.Name)
	f.Refused = append(f.Refused, Refused{Object: o, Bare: bare})
}

// identify names an object of which nothing is known to be well formed.
func identify(kind runtimeschema.GroupVersionKind, object map[string]any, namespace string) mesh.Object {
	metadata, _ := object["metadata"].(map[string]any)
	id := mesh.Object{Group: kind.Group, Kind: kind.Kind, Namespace: namespace}
	id.Name, _ = metadata["name"].(string)
	if ns, _ := metadata["namespace"].(string); ns != "" {
		id.Namespace = ns
	}
	if slices.Contains([]string{"Mesh", "MeshSettings", "Namespace"}, kind.Kind) {
		id.Namespace = "" // these belong to the cluster
	}
	return id
}

// place gives an object the namespace that it goes to; one of the cluster has none.
func place(object map[string]any, kind *schema.Kind, id mesh.Object) {
	metadata, ok := object["metadata"].(map[string]any)
	switch {
	case !ok:
	case kind.Namespaced:
		if metadata["namespace"] == nil || metadata["namespace"] == "" {
			metadata["namespace"] = id.Namespace
		}
	default:
		delete(metadata, "namespace")
	}
}

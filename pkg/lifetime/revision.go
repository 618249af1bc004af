package lifetime

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// LabelAccepted marks the ControllerRevisions that hold a last accepted specification; its value is the kind of the object.
const LabelAccepted = "aftermesh.dev/accepted-spec"

// RevisionName is the name of the revision that holds one generation of an object.
func RevisionName(uid types.UID, generation int64) string {
	return fmt.Sprintf("aftermesh-%s-%d", uid, generation)
}

// Revision returns the form in which the accepted specification of an object is stored. It belongs to the object and goes with
// it. That of a Mesh, which has no namespace, is stored in the given one.
func Revision(accepted meshv1beta2.Object, namespace string) (*appsv1.ControllerRevision, error) {
	kind := accepted.Common().Kind
	slim, ok := accepted.DeepCopyObject().(meshv1beta2.Object)
	if !ok {
		return nil, fmt.Errorf("a copy of %s is none", kind) // every kind's copy is of the same kind
	}
	slim.GetObjectKind().SetGroupVersionKind(meshv1beta2.GroupVersion.WithKind(kind))
	meta := metav1.ObjectMeta{Namespace: slim.GetNamespace(), Name: slim.GetName(), UID: slim.GetUID(), Generation: slim.GetGeneration()}
	c := slim.Common()
	*c.Conditions, *c.ObservedGeneration, *c.Proxies = nil, nil, ""
	for _, clear := range []func(){
		func() { slim.SetLabels(nil) }, func() { slim.SetAnnotations(nil) }, func() { slim.SetFinalizers(nil) },
		func() { slim.SetOwnerReferences(nil) }, func() { slim.SetManagedFields(nil) }, func() { slim.SetResourceVersion("") },
		func() { slim.SetDeletionTimestamp(nil) }, func() { slim.SetCreationTimestamp(metav1.Time{}) },
	} {
		clear()
	}
	raw, err := json.Marshal(slim)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s/%s: %w", kind, meta.Namespace, meta.Name, err)
	}
	if meta.Namespace != "" {
		namespace = meta.Namespace
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: RevisionName(meta.UID, meta.Generation), Labels: map[string]string{LabelAccepted: kind},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: meshv1beta2.GroupVersion.String(), Kind: kind, Name: meta.Name, UID: meta.UID}},
		},
		Data: runtime.RawExtension{Raw: raw}, Revision: meta.Generation,
	}, nil
}

// Stored is a revision as it was read.
type Stored struct {
	Namespace, Name string
	UID             types.UID
	// Ours is false when somebody else's object owns it.
	Ours bool
	// Accepted is the object in it; nil when it cannot be read.
	Accepted meshv1beta2.Object
}

// ParseRevision reads what Revision wrote. What Revision would not have written has no Accepted, and is as good as not there: the
// object in it must have the revision's namespace, name and owner, so that nobody replaces the specification of another namespace's
// object. That nobody but the operator writes one in the object's own namespace is the affair of the policy in config/admission.
// The given namespace is that of the operator, where those of Meshes are.
func ParseRevision(r *appsv1.ControllerRevision, namespace string) Stored {
	out := Stored{Namespace: r.Namespace, Name: r.Name, UID: r.UID, Ours: !slices.ContainsFunc(r.OwnerReferences, func(o metav1.OwnerReference) bool {
		return !strings.HasPrefix(o.APIVersion, meshv1beta2.GroupVersion.Group+"/")
	})}
	object := meshv1beta2.NewObject(r.Labels[LabelAccepted])
	if object == nil || json.Unmarshal(r.Data.Raw, object) != nil {
		return out
	}
	switch of := object.GetNamespace(); {
	case object.Common().Kind != "Mesh":
		namespace = of
	case of != "":
		return out
	}
	owner := metav1.OwnerReference{
		APIVersion: meshv1beta2.GroupVersion.String(), Kind: object.Common().Kind, Name: object.GetName(), UID: object.GetUID(),
	}
	if object.GetUID() != "" && r.Namespace == namespace && r.Name == RevisionName(object.GetUID(), object.GetGeneration()) &&
		r.Revision == object.GetGeneration() && len(r.OwnerReferences) == 1 && reflect.DeepEqual(r.OwnerReferences[0], owner) {
		out.Accepted = object
	}
	return out
}

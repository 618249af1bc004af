package cli

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/source"
)

// store holds the objects of a folder as an API server with fieldValidation=Strict would: it refuses what is invalid, keeps what it
// had, and counts generations. Its zero value is empty.
type store struct {
	objects    map[mesh.Object]input.Object
	namespaces map[mesh.Object]input.Namespace
	services   map[mesh.Object]*input.Service
	// lenient are the warnings that the stored form of an object has, which only a strict API server refuses.
	lenient map[mesh.Object]map[warning]bool
}

// warning identifies a strict fault across edits that move its line.
type warning struct{ reason, path, message string }

// content is what take returns.
type content struct {
	objects *input.Objects
	// refused are the objects that stay as they were because their new form is refused, missing those that stay because they may
	// stand in a document that cannot be read. Both are sorted.
	refused, missing []mesh.Object
}

// take replaces the content by what was read and returns it. An object whose new form is refused stays as it was; while a document
// cannot be read, no object is removed. Objects that did not change are the same pointers as before.
func (s *store) take(files *source.Files) content {
	refused, lenient := s.judge(files)
	k := keeper{refused: refused, unreadable: len(unreadable(files)) > 0}
	out := *files.Objects.Replace(s.version)
	out.Config, s.objects = keep(&k, s.objects, out.Config, objectID)
	out.Namespaces, s.namespaces = keep(&k, s.namespaces, out.Namespaces, func(n input.Namespace) mesh.Object {
		return mesh.Object{Kind: "Namespace", Name: n.Name}
	})
	out.Services, s.services = keep(&k, s.services, out.Services, func(x *input.Service) mesh.Object {
		return mesh.Object{Kind: "Service", Namespace: x.Namespace, Name: x.Name}
	})
	for _, id := range slices.Concat(k.kept, k.missing) {
		lenient[id] = s.lenient[id]
	}
	s.lenient = lenient
	slices.SortFunc(k.kept, mesh.Object.Compare)
	slices.SortFunc(k.missing, mesh.Object.Compare)
	return content{objects: &out, refused: k.kept, missing: k.missing}
}

// judge returns the objects whose form in the files is refused, and the strict faults of all. A strict fault that the stored form
// has too refuses nothing: the object was taken with it before.
func (s *store) judge(files *source.Files) (refused map[mesh.Object]bool, lenient map[mesh.Object]map[warning]bool) {
	refused, lenient = map[mesh.Object]bool{}, map[mesh.Object]map[warning]bool{}
	for _, f := range files.Faults {
		refused[f.Object] = true
	}
	for _, f := range files.Warnings {
		if !f.Strict() {
			continue
		}
		w := warning{f.Reason, f.Path, f.Message}
		if f.Reason == source.ReasonDuplicateKey {
			w.message = "" // it names a line
		}
		if lenient[f.Object] == nil {
			lenient[f.Object] = map[warning]bool{}
		}
		lenient[f.Object][w] = true
		if !s.lenient[f.Object][w] {
			refused[f.Object] = true
		}
	}
	return refused, lenient
}

// keeper decides which objects of before stay.
type keeper struct {
	refused    map[mesh.Object]bool
	unreadable bool
	// kept and missing are filled by keep.
	kept, missing []mesh.Object
}

// keep returns the values that are in force after an edit, and the same by identity.
func keep[T any](k *keeper, before map[mesh.Object]T, now []T, id func(T) mesh.Object) ([]T, map[mesh.Object]T) {
	var out []T
	next := map[mesh.Object]T{}
	for _, v := range now {
		o := id(v)
		if had, ok := before[o]; ok && k.refused[o] {
			k.kept = append(k.kept, o)
			v = had
		}
		out, next[o] = append(out, v), v
	}
	for o, had := range before {
		if _, read := next[o]; read || !k.refused[o] && !k.unreadable {
			continue
		}
		if k.refused[o] {
			k.kept = append(k.kept, o)
		} else {
			k.missing = append(k.missing, o)
		}
		out, next[o] = append(out, had), had
	}
	return out, next
}

func objectID(o input.Object) mesh.Object {
	if ours, ok := o.(meshv1beta2.Object); ok {
		return input.ID(ours)
	}
	kind := o.GetObjectKind().GroupVersionKind() // files state it
	return mesh.Object{Group: kind.Group, Kind: kind.Kind, Name: o.GetName()}
}

// version gives an object the identity and the generation that it has in the store; an equal one is the one that is there.
func (s *store) version(object meshv1beta2.Object) meshv1beta2.Object {
	id := objectID(object)
	had, _ := s.objects[id].(meshv1beta2.Object)
	if object.GetUID() == "" {
		object.SetUID(types.UID(id.String()))
	}
	object.SetGeneration(1)
	if had == nil || had.GetUID() != object.GetUID() {
		return object
	}
	object.SetGeneration(had.GetGeneration())
	if equality.Semantic.DeepEqual(had, object) {
		return had
	}
	object.SetGeneration(had.GetGeneration() + 1)
	return object
}

package cli

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/source"
)

// store holds the objects of a folder as an API server would: it refuses what the schema forbids and goes on with what it had, and
// counts generations. Its zero value is empty.
type store struct {
	objects map[mesh.Object]meshv1beta2.Object
}

// take replaces the content by what was read and returns it, and the objects that stay as they were because their new form is
// refused. Objects that did not change are the same pointers as before.
func (s *store) take(files *source.Files) (o *compile.Objects, kept []mesh.Object) {
	next := map[mesh.Object]meshv1beta2.Object{}
	out := files.Objects.Replace(func(object meshv1beta2.Object) meshv1beta2.Object {
		id := compile.ID(object)
		next[id] = s.version(id, object)
		return next[id]
	})
	for _, r := range files.Refused {
		id := compile.ID(r.Object)
		if had := s.objects[id]; had != nil {
			next[id] = had
			out.Config = append(out.Config, had)
			kept = append(kept, id)
		}
	}
	s.objects = next
	slices.SortFunc(kept, mesh.Object.Compare)
	return out, kept
}

// version gives an object the identity and the generation that it has in the store; an equal one is the one that is there.
func (s *store) version(id mesh.Object, object meshv1beta2.Object) meshv1beta2.Object {
	had := s.objects[id]
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

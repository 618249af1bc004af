package lifetime

import (
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// Serve returns the objects that are to be served: all but those that are being deleted and that nothing holds. Compile thus
// takes an object out of the proxies while it still exists. The result is o itself when there is none.
func Serve(o *input.Objects) *input.Objects {
	if !anyDeleted(o) {
		return o
	}
	g := newGraph(o)
	return o.Replace(func(obj meshv1beta2.Object) meshv1beta2.Object {
		if obj.GetDeletionTimestamp() != nil && wanted(obj) != nil && g.hold(obj) == nil {
			return nil
		}
		return obj
	})
}

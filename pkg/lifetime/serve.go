package lifetime

import (
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
)

// Serve returns the objects that are to be served: all but those that are being deleted and that nothing holds. Compile thus
// takes an object out of the proxies while it still exists. The result is o itself when there is none.
func Serve(o *compile.Objects) *compile.Objects {
	if !anyDeleted(o) {
		return o
	}
	g := newGraph(o)
	out := *o
	out.Meshes = staying(g, o.Meshes)
	out.VirtualNodes = staying(g, o.VirtualNodes)
	out.VirtualServices = staying(g, o.VirtualServices)
	out.VirtualRouters = staying(g, o.VirtualRouters)
	out.VirtualGateways = staying(g, o.VirtualGateways)
	out.GatewayRoutes = staying(g, o.GatewayRoutes)
	return &out
}

func staying[T meshv1beta2.Object](g *graph, list []T) []T {
	out := make([]T, 0, len(list))
	for _, obj := range list {
		if obj.GetDeletionTimestamp() == nil || g.hold(obj) != nil {
			out = append(out, obj)
		}
	}
	return out
}

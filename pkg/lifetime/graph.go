package lifetime

import (
	"iter"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// graph says who holds whom. It is empty when nothing is being deleted, because nobody asks then.
type graph struct {
	objects map[mesh.Object]meshv1beta2.Object
	meshes  map[types.UID]bool
	// members counts by kind, by the UID of a Mesh or VirtualGateway.
	members map[types.UID]map[string]int
	// named finds an object of a namespace by its effective name, as ARNs do.
	named map[effective]mesh.Object
	// referrers are the objects that keep one from going; only of objects that are being deleted.
	referrers map[mesh.Object][]mesh.Object
	held      map[mesh.Object]bool
}

// effective is the name of an object of a kind and a namespace in a mesh.
type effective struct {
	mesh                  types.UID
	namespace, kind, name string
}

func newGraph(o *input.Objects) *graph {
	g := &graph{}
	if !anyDeleted(o) {
		return g
	}
	g.objects, g.meshes = map[mesh.Object]meshv1beta2.Object{}, map[types.UID]bool{}
	g.members, g.named = map[types.UID]map[string]int{}, map[effective]mesh.Object{}
	g.referrers, g.held = map[mesh.Object][]mesh.Object{}, map[mesh.Object]bool{}
	for m := range input.All[*meshv1beta2.Mesh](o) {
		g.meshes[m.UID] = true
	}
	for obj := range input.All[meshv1beta2.Object](o) {
		id := input.ID(obj)
		g.objects[id] = obj
		if field := obj.Common().MeshRef; field != nil && *field != nil && id.Kind != "BackendGroup" {
			g.count((*field).UID, id.Kind)
			g.named[effective{(*field).UID, id.Namespace, id.Kind, meshv1beta2.EffectiveName(obj)}] = id
		}
	}
	for r := range input.All[*meshv1beta2.GatewayRoute](o) {
		if ref := r.Spec.VirtualGatewayRef; ref != nil && ref.NamespaceOr(r.Namespace) == r.Namespace {
			g.count(ref.UID, "GatewayRoute")
		}
	}
	g.connect(o)
	return g
}

// Leaving is true for a node that is being deleted and that nothing keeps: new pods should not join it any more. o need not have
// heard of the deletion yet.
func Leaving(o *input.Objects, n *meshv1beta2.VirtualNode) bool {
	if n.DeletionTimestamp == nil {
		return false
	}
	now := o.Replace(func(x meshv1beta2.Object) meshv1beta2.Object {
		if input.ID(x) == input.ID(n) {
			return n
		}
		return x
	})
	return len(newGraph(now).holding(input.ID(n))) == 0
}

func anyDeleted(o *input.Objects) bool {
	for obj := range input.All[meshv1beta2.Object](o) {
		if obj.GetDeletionTimestamp() != nil {
			return true
		}
	}
	return false
}

func (g *graph) count(of types.UID, kind string) {
	if g.members[of] == nil {
		g.members[of] = map[string]int{}
	}
	g.members[of][kind]++
}

// connect enters every reference that holds.
func (g *graph) connect(o *input.Objects) {
	for r := range input.All[*meshv1beta2.GatewayRoute](o) {
		for s := range gatewayTargets(&r.Spec) {
			g.refer(r, "VirtualService", s.VirtualServiceRef, s.VirtualServiceARN)
		}
	}
	for s := range input.All[*meshv1beta2.VirtualService](o) {
		p := s.Spec.Provider
		if p == nil {
			continue
		}
		if n := p.VirtualNode; n != nil {
			g.refer(s, "VirtualNode", n.VirtualNodeRef, n.VirtualNodeARN)
		}
		if r := p.VirtualRouter; r != nil {
			g.refer(s, "VirtualRouter", r.VirtualRouterRef, r.VirtualRouterARN)
		}
	}
	for r := range input.All[*meshv1beta2.VirtualRouter](o) {
		for i := range r.Spec.Routes {
			g.referTargets(r, &r.Spec.Routes[i].RouteBody)
		}
	}
	for r := range input.All[*meshv1beta2.Route](o) {
		// A Route is part of its router: without one it leads nowhere, and of one that goes it goes too.
		if of := g.objects[input.AppMesh("VirtualRouter", r.Namespace, r.Spec.VirtualRouterRef.Name)]; of != nil {
			g.referTargets(of, &r.Spec.RouteBody)
		}
	}
}

func (g *graph) referTargets(from meshv1beta2.Object, body *meshv1beta2.RouteBody) {
	for t := range weightedTargets(body) {
		g.refer(from, "VirtualNode", t.VirtualNodeRef, t.VirtualNodeARN)
	}
}

// refer notes that from refers to an object of the kind, if that exists in the same mesh and namespace and is being deleted. What is
// in other namespaces holds nothing: nobody could delete an object, or its namespace, that others refer to. Such a reference does
// not resolve any more when the object goes, which its own conditions say.
func (g *graph) refer(from meshv1beta2.Object, kind string, ref *meshv1beta2.Reference, arn *string) {
	uid := meshUID(from)
	var to mesh.Object
	switch {
	case ref != nil:
		key := ref.Resolve(from.GetNamespace())
		to = input.AppMesh(kind, key.Namespace, key.Name)
	case arn != nil:
		to = g.named[effective{uid, from.GetNamespace(), kind, (*arn)[strings.LastIndexByte(*arn, '/')+1:]}]
	}
	obj := g.objects[to]
	if obj == nil || obj.GetDeletionTimestamp() == nil || obj.GetNamespace() != from.GetNamespace() {
		return
	}
	if of := meshUID(obj); uid != "" && of != "" && uid != of {
		return
	}
	if id := input.ID(from); !slices.Contains(g.referrers[to], id) {
		g.referrers[to] = append(g.referrers[to], id)
	}
}

func meshUID(obj meshv1beta2.Object) types.UID {
	if field := obj.Common().MeshRef; field != nil && *field != nil {
		return (*field).UID
	}
	return ""
}

// meshExists is true when the Mesh that the object names is there, and not another one of the same name.
func (g *graph) meshExists(obj meshv1beta2.Object) bool { return g.meshes[meshUID(obj)] }

// holding lists the referrers that keep an object: live ones, and those whose own deletion waits, since they are served meanwhile.
// An object whose mesh is gone is not served, so nothing keeps it.
func (g *graph) holding(id mesh.Object) []mesh.Object {
	obj := g.objects[id]
	if obj == nil || !g.meshExists(obj) {
		return nil
	}
	var out []mesh.Object
	for _, from := range g.referrers[id] {
		if g.objects[from].GetDeletionTimestamp() == nil || g.isHeld(from) {
			out = append(out, from)
		}
	}
	slices.SortFunc(out, mesh.Object.Compare)
	return out
}

func (g *graph) isHeld(id mesh.Object) bool {
	held, known := g.held[id]
	if !known {
		held = len(g.holding(id)) > 0
		g.held[id] = held
	}
	return held
}

// gatewayTargets yields the services that a gateway route leads to, of every kind of route that is set.
func gatewayTargets(s *meshv1beta2.GatewayRouteSpec) iter.Seq[meshv1beta2.GatewayRouteVirtualService] {
	return func(yield func(meshv1beta2.GatewayRouteVirtualService) bool) {
		_ = (s.HTTPRoute == nil || yield(s.HTTPRoute.Action.Target.VirtualService)) &&
			(s.HTTP2Route == nil || yield(s.HTTP2Route.Action.Target.VirtualService)) &&
			(s.GRPCRoute == nil || yield(s.GRPCRoute.Action.Target.VirtualService))
	}
}

// weightedTargets yields the targets of every kind of route that is set.
func weightedTargets(b *meshv1beta2.RouteBody) iter.Seq[meshv1beta2.WeightedTarget] {
	return func(yield func(meshv1beta2.WeightedTarget) bool) {
		var lists [][]meshv1beta2.WeightedTarget
		if b.HTTPRoute != nil {
			lists = append(lists, b.HTTPRoute.Action.WeightedTargets)
		}
		if b.HTTP2Route != nil {
			lists = append(lists, b.HTTP2Route.Action.WeightedTargets)
		}
		if b.GRPCRoute != nil {
			lists = append(lists, b.GRPCRoute.Action.WeightedTargets)
		}
		if b.TCPRoute != nil {
			lists = append(lists, b.TCPRoute.Action.WeightedTargets)
		}
		for _, list := range lists {
			for _, t := range list {
				if !yield(t) {
					return
				}
			}
		}
	}
}

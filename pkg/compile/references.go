package compile

import (
	"fmt"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// arnName returns the last component of an App Mesh resource name of the given type ("virtualNode"). Account, region and mesh
// are not looked at. Source: App Mesh API reference, ARN format arn:…:mesh/<mesh>/<type>/<name>.
func arnName(arn, kind string) (string, error) {
	const parts = 6
	fields := strings.SplitN(arn, ":", parts)
	if len(fields) != parts || fields[0] != "arn" {
		return "", fmt.Errorf("%q is not an ARN, which has the form arn:aws:appmesh:<region>:<account>:mesh/<mesh>/%s/<name>", arn, kind)
	}
	path := strings.Split(fields[parts-1], "/")
	if len(path) != 4 || path[0] != "mesh" || path[2] != kind || path[3] == "" {
		return "", fmt.Errorf("%q does not name a %s: after the account must come mesh/<mesh>/%s/<name>", arn, kind, kind)
	}
	return path[3], nil
}

// dangling reports a reference that does not resolve.
func (b *builder) dangling(from mesh.Object, path, reason, msg string) {
	b.problem(mesh.Problem{Object: from, Severity: mesh.Unresolved, Partial: true, Reason: reason, Path: path, Message: msg})
}

// lookup resolves a reference by name or by ARN to an entry of byKey or byName. kind is "VirtualNode" and so on.
type lookup struct {
	from      mesh.Object
	namespace string
	mesh      *meshInfo
	kind      string
	notFound  string
	path      string
	ref       *meshv1beta2.Reference
	arn       *string
	effect    string
}

// resolve returns the entry that l refers to, or nil after reporting why there is none.
func resolve[T any](b *builder, l lookup, byRef func(meshv1beta2.Reference) (*T, *meshInfo, mesh.Object),
	byName func(string) (*T, meshv1beta2.Object),
) *T {
	switch {
	case l.arn != nil && l.ref == nil:
		name, err := arnName(*l.arn, lowerFirst(l.kind))
		if err != nil {
			b.dangling(l.from, l.path, l.notFound, err.Error()+"; "+l.effect)
			return nil
		}
		t, o := byName(name)
		if t == nil {
			b.dangling(l.from, l.path, l.notFound, fmt.Sprintf("no %s of mesh %q has the name %q; %s", l.kind, l.mesh.name, name, l.effect))
			return nil
		}
		// A name says nothing about who has it: one that belongs to a namespace never means somebody else's object.
		if owner := b.foreignName(l.mesh, b.name(o)); owner != "" && o.GetNamespace() != l.from.Namespace {
			b.dangling(l.from, l.path, l.notFound, fmt.Sprintf("the name %q belongs to namespace %s, but %s has it; use %sRef to name that object; %s",
				name, owner, input.ID(o), lowerFirst(l.kind), l.effect))
			return nil
		}
		return t
	case l.ref == nil:
		b.dangling(l.from, l.path, l.notFound, fmt.Sprintf("the reference is empty, name a %s; %s", l.kind, l.effect))
		return nil
	}
	t, m, o := byRef(*l.ref)
	switch {
	case t == nil:
		b.dangling(l.from, l.path, l.notFound, fmt.Sprintf("%s does not exist or is not served; %s", o, l.effect))
		return nil
	case m != l.mesh:
		b.dangling(l.from, l.path, meshv1beta2.ReasonMeshMismatch, fmt.Sprintf("%s belongs to mesh %q, not to %q; %s", o, m.name, l.mesh.name, l.effect))
		return nil
	}
	return t
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func (b *builder) findNode(l lookup) *node {
	l.kind, l.notFound = "VirtualNode", meshv1beta2.ReasonVirtualNodeNotFound
	return resolve(b, l, func(r meshv1beta2.Reference) (*node, *meshInfo, mesh.Object) {
		key := r.Resolve(l.namespace)
		o := input.AppMesh(l.kind, key.Namespace, key.Name)
		if n := b.nodes[key]; n != nil {
			return n, n.mesh, o
		}
		return nil, nil, o
	}, func(name string) (*node, meshv1beta2.Object) {
		if n := b.nodeByName[nameKey{l.mesh.name, name}]; n != nil {
			return n, n.object
		}
		return nil, nil
	})
}

func (b *builder) findRouter(l lookup) *router {
	l.kind, l.notFound = "VirtualRouter", meshv1beta2.ReasonVirtualRouterNotFound
	return resolve(b, l, func(r meshv1beta2.Reference) (*router, *meshInfo, mesh.Object) {
		key := r.Resolve(l.namespace)
		o := input.AppMesh(l.kind, key.Namespace, key.Name)
		if n := b.routers[key]; n != nil {
			return n, n.mesh, o
		}
		return nil, nil, o
	}, func(name string) (*router, meshv1beta2.Object) {
		if r := b.routeByName[nameKey{l.mesh.name, name}]; r != nil {
			return r, r.object
		}
		return nil, nil
	})
}

func (b *builder) findService(l lookup) *virtualService {
	l.kind, l.notFound = "VirtualService", meshv1beta2.ReasonVirtualServiceNotFound
	return resolve(b, l, func(r meshv1beta2.Reference) (*virtualService, *meshInfo, mesh.Object) {
		key := r.Resolve(l.namespace)
		o := input.AppMesh(l.kind, key.Namespace, key.Name)
		if n := b.virtuals[key]; n != nil {
			return n, n.mesh, o
		}
		return nil, nil, o
	}, func(name string) (*virtualService, meshv1beta2.Object) {
		if v := b.virtualOf[nameKey{l.mesh.name, name}]; v != nil {
			return v, v.object
		}
		return nil, nil
	})
}

// targetNode resolves the node of one weighted target.
func (b *builder) targetNode(r *router, s source, t meshv1beta2.WeightedTarget, path string) *node {
	return b.findNode(lookup{
		from: s.owner, namespace: s.owner.Namespace, mesh: r.mesh, path: path, ref: t.VirtualNodeRef, arn: t.VirtualNodeARN,
		effect: "this share of the traffic gets 503",
	})
}

// targetLabel is what an unresolved target is called in the name of its cluster.
func targetLabel(t meshv1beta2.WeightedTarget) string {
	if t.VirtualNodeRef != nil {
		return t.VirtualNodeRef.Name
	}
	if t.VirtualNodeARN != nil {
		if name, err := arnName(*t.VirtualNodeARN, "virtualNode"); err == nil {
			return name
		}
	}
	return "none"
}

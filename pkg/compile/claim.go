package compile

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// resolveNames gives each object its name in its mesh; see claim.
func (b *builder) resolveNames() {
	for _, n := range claim(b, All[*meshv1beta2.VirtualNode](b.in)) {
		nd := &node{object: n, self: ID(n), mesh: b.meshOf[ID(n)], name: meshv1beta2.EffectiveName(n)}
		b.nodes[keyOf(n)] = nd
		b.nodeByName[nameKey{nd.mesh.name, nd.name}] = nd
		b.nodeOrder = append(b.nodeOrder, nd)
	}
	for _, r := range claim(b, All[*meshv1beta2.VirtualRouter](b.in)) {
		rt := &router{object: r, self: ID(r), mesh: b.meshOf[ID(r)]}
		b.routers[keyOf(r)] = rt
		b.routeByName[nameKey{rt.mesh.name, meshv1beta2.EffectiveName(r)}] = rt
	}
	for _, s := range claim(b, All[*meshv1beta2.VirtualService](b.in)) {
		vs := &virtualService{object: s, self: ID(s), mesh: b.meshOf[ID(s)]}
		b.virtuals[keyOf(s)] = vs
		b.virtualOrder = append(b.virtualOrder, vs)
		b.virtualOf[nameKey{vs.mesh.name, meshv1beta2.EffectiveName(s)}] = vs
	}
	for _, g := range claim(b, All[*meshv1beta2.VirtualGateway](b.in)) {
		b.gateways = append(b.gateways, &gateway{object: g, self: ID(g), mesh: b.meshOf[ID(g)], name: meshv1beta2.EffectiveName(g)})
	}
	b.entering = claim(b, All[*meshv1beta2.GatewayRoute](b.in))
	claim(b, All[*meshv1beta2.BackendGroup](b.in))
	b.indexGroups()
}

// claim returns, oldest first, the objects that have a mesh and hold their name in it, and records their places.
//
// A name that belongs to a namespace of the mesh, by its form, goes to the object of that namespace; among others the older one has
// it. An object of another namespace may hold it as long as nobody claims it there.
func claim[T meshv1beta2.Object](b *builder, objects iter.Seq[T]) []T {
	list := ownersFirst(b, objects)
	holders, spelled := make(map[nameKey]mesh.Object, len(list)), map[nameKey]mesh.Object{}
	out := make([]T, 0, len(list))
	for _, o := range list {
		self := ID(o)
		m := b.meshOf[self]
		if m == nil {
			continue
		}
		name := meshv1beta2.EffectiveName(o)
		b.names[self] = Place{Mesh: m.name, Name: name, MeshRef: meshv1beta2.MeshReference{Name: m.object.Name, UID: m.object.UID}}
		key, spelling := b.claimKeys(m, o, name)
		winner, taken := holders[key]
		owner := b.foreignName(m, o)
		if !taken && owner != "" {
			winner, taken = spelled[spelling]
			taken = taken && winner.Namespace == owner
		}
		switch {
		case taken && owner != "" && owner == winner.Namespace:
			b.loses(self, fmt.Sprintf("the name %q belongs to namespace %s, where %s has it; create this object again under another awsName",
				name, owner, winner))
			continue
		case taken:
			b.nameConflict(self, winner, name)
			continue
		case owner != "":
			b.problem(mesh.Problem{Object: self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: "spec.awsName",
				Message: fmt.Sprintf("the name %q belongs to namespace %s and is lost once an object there claims it; create this object again under another awsName",
					name, owner)})
		}
		if b.goodName(self, name) {
			holders[key] = self
			if _, known := spelled[spelling]; !known {
				spelled[spelling] = self
			}
			out = append(out, o)
		}
	}
	return byAge(slices.Values(out))
}

// claimKeys returns two keys. The first is equal for objects of a kind that cannot be served beside each other: hosts are equal
// whatever their case. The second is equal for all spellings that another namespace cannot have beside the owner: short and long
// names of a Service, with a port or without.
func (b *builder) claimKeys(m *meshInfo, o meshv1beta2.Object, name string) (key, spelling nameKey) {
	key = nameKey{m.name, name}
	switch {
	case o.Common().AWSName == nil:
		key.name = o.GetNamespace() + "/" + o.GetName()
	case o.Common().Kind == "GatewayRoute": // nothing finds one by its name
		key.name = o.GetNamespace() + "/" + name
	case o.Common().Kind == "VirtualService":
		key.name = strings.TrimSuffix(strings.ToLower(name), ".")
		host := membership.CanonicalHost(name)
		if s, ok := serviceOf(host, "", b.in.Settings.ClusterDomain); ok && s.namespace != "" {
			host = s.name + "." + s.namespace
		}
		return key, nameKey{m.name, host}
	}
	return key, key
}

// ownersFirst orders objects by age, but puts those that have a name of their own namespace before all others.
func ownersFirst[T meshv1beta2.Object](b *builder, objects iter.Seq[T]) []T {
	out := byAge(objects)
	owned := make(map[mesh.Object]bool, len(out))
	for _, o := range out {
		owned[ID(o)] = membership.NameOwner(o, b.in.Settings.ClusterDomain) == o.GetNamespace()
	}
	slices.SortStableFunc(out, func(x, y T) int {
		switch ownsX, ownsY := owned[ID(x)], owned[ID(y)]; {
		case ownsX == ownsY:
			return 0
		case ownsX:
			return -1
		default:
			return 1
		}
	})
	return out
}

// foreignName returns the other namespace of the mesh that an object's name belongs to, or "".
func (b *builder) foreignName(m *meshInfo, o meshv1beta2.Object) string {
	owner := membership.NameOwner(o, b.in.Settings.ClusterDomain)
	if owner == "" || owner == o.GetNamespace() {
		return ""
	}
	if _, known := b.labels[owner]; !known {
		return ""
	}
	if of, problem := b.designate(owner); problem != nil || of != m {
		return ""
	}
	return owner
}

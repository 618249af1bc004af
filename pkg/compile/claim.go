package compile

import (
	"fmt"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// named is what the claim of an object to its name depends on.
type named struct {
	self mesh.Object
	// name is the effective one; owner is the namespace that it belongs to by its form, or "".
	name, owner string
	// key and spelling are what claimKeys returns.
	key, spelling string
}

// name reads an object, once.
func (b *builder) name(o meshv1beta2.Object) *named {
	return b.compiler.named.get(o, func(o meshv1beta2.Object) *named {
		n := &named{self: input.ID(o), name: meshv1beta2.EffectiveName(o), owner: membership.NameOwner(o, b.in.Settings.ClusterDomain)}
		n.key, n.spelling = b.claimKeys(o, n.name)
		return n
	})
}

// resolveNames gives each object its name in its mesh; see claim.
func (b *builder) resolveNames() {
	claim(b, b.of.VirtualNodes, func(o *meshv1beta2.VirtualNode, n *named, m *meshInfo) {
		nd := &node{object: o, self: n.self, mesh: m, name: n.name}
		b.nodes[keyOf(o)] = nd
		b.nodeByName[nameKey{m.name, n.name}] = nd
		b.nodeOrder = append(b.nodeOrder, nd)
	})
	claim(b, b.of.VirtualRouters, func(o *meshv1beta2.VirtualRouter, n *named, m *meshInfo) {
		rt := &router{object: o, self: n.self, mesh: m}
		b.routers[keyOf(o)] = rt
		b.routeByName[nameKey{m.name, n.name}] = rt
	})
	claim(b, b.of.VirtualServices, func(o *meshv1beta2.VirtualService, n *named, m *meshInfo) {
		vs := &virtualService{object: o, self: n.self, mesh: m}
		b.virtuals[keyOf(o)] = vs
		b.virtualOf[nameKey{m.name, n.name}] = vs
	})
	claim(b, b.of.VirtualGateways, func(o *meshv1beta2.VirtualGateway, n *named, m *meshInfo) {
		b.gateways = append(b.gateways, &gateway{object: o, self: n.self, mesh: m, name: n.name})
	})
	claim(b, b.of.GatewayRoutes, func(o *meshv1beta2.GatewayRoute, _ *named, _ *meshInfo) { b.entering = append(b.entering, o) })
	claim(b, b.of.BackendGroups, func(*meshv1beta2.BackendGroup, *named, *meshInfo) {})
	b.indexGroups()
}

// claim calls hold, oldest first, for the objects that have a mesh and hold their name in it, and records their places.
//
// A name that belongs to a namespace of the mesh, by its form, goes to the object of that namespace; among others the older one has
// it. An object of another namespace may hold it as long as nobody claims it there.
func claim[T meshv1beta2.Object](b *builder, list []T, hold func(T, *named, *meshInfo)) {
	c := claims{b: b, holders: make(map[nameKey]mesh.Object, len(list))}
	if _, services := any(list).([]*meshv1beta2.VirtualService); services {
		c.spelled = make(map[nameKey]mesh.Object, len(list))
	}
	subjects, held := make([]*named, len(list)), make([]*meshInfo, len(list))
	for i, o := range list {
		subjects[i] = b.name(o)
	}
	// Those that have a name of their own namespace come before all others.
	for _, owners := range []bool{true, false} {
		for i, n := range subjects {
			if m := b.meshOf[n.self]; m != nil && owners == (n.owner == n.self.Namespace) && c.holds(n, m) {
				held[i] = m
			}
		}
	}
	for i, m := range held {
		if m != nil {
			hold(list[i], subjects[i], m)
		}
	}
}

// claims are who holds the names of one kind. Only services have spellings that differ from their keys.
type claims struct {
	b                *builder
	holders, spelled map[nameKey]mesh.Object
}

// holds records the place of an object and says whether it holds its name.
func (c *claims) holds(n *named, m *meshInfo) bool {
	b := c.b
	b.names[n.self] = input.Place{Mesh: m.name, Name: n.name, MeshRef: meshv1beta2.MeshReference{Name: m.object.Name, UID: m.object.UID}}
	key, spelling := nameKey{m.name, n.key}, nameKey{m.name, n.spelling}
	winner, taken := c.holders[key]
	owner := b.foreignName(m, n)
	if !taken && owner != "" {
		winner, taken = c.spelled[spelling]
		taken = taken && winner.Namespace == owner
	}
	switch {
	case taken && owner != "" && owner == winner.Namespace:
		b.loses(n.self, fmt.Sprintf("the name %q belongs to namespace %s, where %s has it; create this object again under another awsName",
			n.name, owner, winner))
		return false
	case taken:
		b.nameConflict(n.self, winner, n.name)
		return false
	case owner != "":
		b.problem(mesh.Problem{Object: n.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: "spec.awsName",
			Message: fmt.Sprintf("the name %q belongs to namespace %s and is lost once an object there claims it; create this object again under another awsName",
				n.name, owner)})
	}
	if !b.goodName(n.self, n.name) {
		return false
	}
	c.holders[key] = n.self
	if _, known := c.spelled[spelling]; !known && c.spelled != nil {
		c.spelled[spelling] = n.self
	}
	return true
}

// claimKeys returns two keys. The first is equal for objects of a kind that cannot be served beside each other: hosts are equal
// whatever their case. The second is equal for all spellings that another namespace cannot have beside the owner: short and long
// names of a Service, with a port or without.
func (b *builder) claimKeys(o meshv1beta2.Object, name string) (key, spelling string) {
	key = name
	switch {
	case o.Common().AWSName == nil:
		key = o.GetNamespace() + "/" + o.GetName()
	case o.Common().Kind == "GatewayRoute": // nothing finds one by its name
		key = o.GetNamespace() + "/" + name
	case o.Common().Kind == "VirtualService":
		key = strings.TrimSuffix(strings.ToLower(name), ".")
		host := membership.CanonicalHost(name)
		if s, ok := serviceOf(host, "", b.in.Settings.ClusterDomain); ok && s.namespace != "" {
			host = s.name + "." + s.namespace
		}
		return key, host
	}
	return key, key
}

// foreignName returns the other namespace of the mesh that an object's name belongs to, or "".
func (b *builder) foreignName(m *meshInfo, n *named) string {
	if n.owner == "" || n.owner == n.self.Namespace {
		return ""
	}
	if _, known := b.labels[n.owner]; !known {
		return ""
	}
	if of, problem := b.designate(n.owner); problem != nil || of != m {
		return ""
	}
	return n.owner
}

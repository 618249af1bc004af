package lifetime

import (
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
)

// Completion is what an object lacks because it was stored while no webhook answered, or because what it refers to was deleted
// by force and recreated.
type Completion struct {
	Object meshv1beta2.Object
	// Mesh, Gateway and Name are the values to be written; nil and "" for those that are right already.
	Mesh    *meshv1beta2.MeshReference
	Gateway *meshv1beta2.VirtualGatewayReference
	Name    string
	// Replaces are the referents whose place is taken. Before anything is written the caller asks the API server whether they
	// are really gone; the objects given may be behind.
	Replaces []Referent
}

// Referent is one particular Mesh, or VirtualGateway if it has a namespace.
type Referent struct {
	Namespace, Name string
	UID             types.UID
}

// Apply writes the values into an object of the same kind.
func (c Completion) Apply(o meshv1beta2.Object) {
	common := o.Common()
	if c.Mesh != nil {
		*common.MeshRef = c.Mesh
	}
	if c.Name != "" {
		*common.AWSName = &c.Name
	}
	if r, ok := o.(*meshv1beta2.GatewayRoute); ok && c.Gateway != nil {
		r.Spec.VirtualGatewayRef = c.Gateway
	}
}

// Incomplete returns the objects that lack system fields which can be told now, as the webhook would have filled them in. What
// is being deleted stays as it is.
func Incomplete(o *input.Objects) []Completion {
	c := completer{o: o, allMeshes: input.Of[*meshv1beta2.Mesh](o), allGateways: input.Of[*meshv1beta2.VirtualGateway](o), meshes: map[types.UID]bool{}, gateways: map[types.UID]bool{}}
	for m := range input.All[*meshv1beta2.Mesh](o) {
		c.meshes[m.UID] = true
	}
	for g := range input.All[*meshv1beta2.VirtualGateway](o) {
		c.gateways[g.UID] = true
	}
	var out []Completion
	for obj := range input.All[meshv1beta2.Object](o) {
		if obj.GetDeletionTimestamp() != nil {
			continue
		}
		if done := c.object(obj); done.Mesh != nil || done.Gateway != nil || done.Name != "" {
			out = append(out, done)
		}
	}
	return out
}

type completer struct {
	o                *input.Objects
	allMeshes        []*meshv1beta2.Mesh
	allGateways      []*meshv1beta2.VirtualGateway
	meshes, gateways map[types.UID]bool
	labels           map[string]map[string]string
}

func (c *completer) object(obj meshv1beta2.Object) Completion {
	done := Completion{Object: obj}
	common := obj.Common()
	if name := common.AWSName; name != nil && (*name == nil || **name == "") {
		done.Name = meshv1beta2.DefaultName(obj)
	}
	if common.MeshRef == nil {
		return done
	}
	ref := *common.MeshRef
	if absent := ref == nil || *ref == (meshv1beta2.MeshReference{}); absent || !c.meshes[ref.UID] {
		labels, known := c.namespace(obj.GetNamespace())
		m, problem := membership.DesignateMesh(c.allMeshes, obj.GetNamespace(), labels)
		if !known || problem != nil {
			return done // compile says so in the object's conditions
		}
		if !absent {
			done.Replaces = append(done.Replaces, Referent{Name: ref.Name, UID: ref.UID})
		}
		ref = &meshv1beta2.MeshReference{Name: m.Name, UID: m.UID}
		done.Mesh = ref
	}
	if r, ok := obj.(*meshv1beta2.GatewayRoute); ok {
		c.gateway(r, *ref, &done)
	}
	return done
}

func (c *completer) gateway(r *meshv1beta2.GatewayRoute, of meshv1beta2.MeshReference, done *Completion) {
	ref := r.Spec.VirtualGatewayRef
	absent := ref == nil || *ref == (meshv1beta2.VirtualGatewayReference{})
	if !absent && c.gateways[ref.UID] {
		return
	}
	labels, known := c.namespace(r.Namespace)
	g, problem := membership.DesignateGateway(c.allGateways, r, labels, func(g *meshv1beta2.VirtualGateway) bool {
		return g.Spec.MeshRef != nil && *g.Spec.MeshRef == of
	})
	if !known || problem != nil {
		return
	}
	if !absent {
		done.Replaces = append(done.Replaces, Referent{Namespace: ref.NamespaceOr(r.Namespace), Name: ref.Name, UID: ref.UID})
	}
	done.Gateway = &meshv1beta2.VirtualGatewayReference{Namespace: &g.Namespace, Name: g.Name, UID: g.UID}
}

// namespace returns the labels of a namespace, and whether it is known.
func (c *completer) namespace(name string) (map[string]string, bool) {
	if c.labels == nil {
		c.labels = make(map[string]map[string]string, len(c.o.Namespaces))
		for _, n := range c.o.Namespaces {
			c.labels[n.Name] = n.Labels
			if n.Labels == nil {
				c.labels[n.Name] = map[string]string{}
			}
		}
	}
	l, ok := c.labels[name]
	return l, ok
}

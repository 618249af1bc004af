package lifetime

import (
	"fmt"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Reasons of the events about deletions that wait.
const (
	// ReasonPendingMembers goes with a Mesh or VirtualGateway that still has members.
	ReasonPendingMembers = "PendingMembersDeletion"
	// ReasonPendingReferences goes with an object that something live refers to.
	ReasonPendingReferences = "PendingReferencesDeletion"
)

// Plan says what should happen to the finalizers of one object.
type Plan struct {
	Object meshv1beta2.Object
	ID     mesh.Object
	// Add are the missing ones, in the order in which they belong; never on an object that is being deleted.
	Add []string
	// Release may go at once.
	Release []string
	// Leave may go once no connected proxy depends on the object any more.
	Leave []string
	// Hold says what the deletion waits for; nil if for nothing.
	Hold *Hold
}

// Hold is why a deletion waits, as an event tells it.
type Hold struct {
	// Recorder is the event's reporting component.
	Recorder, Reason, Message string
}

// Finalizers returns the object's finalizers with the plan carried out. What may go only without proxies goes if left is true.
func (p Plan) Finalizers(left bool) []string {
	gone := p.Release
	if left {
		gone = append(slices.Clone(gone), p.Leave...)
	}
	keep := slices.DeleteFunc(slices.Clone(p.Object.GetFinalizers()), func(f string) bool { return slices.Contains(gone, f) })
	return append(keep, p.Add...)
}

// Plans returns what is to be done, in the order of the objects: nothing for those whose finalizers are as they should be and
// whose deletion does not wait.
func Plans(o *input.Objects) []Plan {
	var out []Plan
	g := newGraph(o)
	for obj := range input.All[meshv1beta2.Object](o) {
		var p Plan
		if obj.GetDeletionTimestamp() == nil {
			p = planLiving(obj)
		} else {
			p = g.planDeleted(obj)
		}
		if len(p.Add)+len(p.Release)+len(p.Leave) > 0 || p.Hold != nil {
			p.Object, p.ID = obj, input.ID(obj)
			out = append(out, p)
		}
	}
	return out
}

// wanted are the finalizers of an object's kind, in the order in which they are added.
func wanted(obj meshv1beta2.Object) []string { return meshv1beta2.KindOf(obj.Common().Kind).Finalizers }

func planLiving(obj meshv1beta2.Object) Plan {
	var p Plan
	have := obj.GetFinalizers()
	for _, f := range wanted(obj) {
		if !slices.Contains(have, f) {
			p.Add = append(p.Add, f)
		}
	}
	if slices.Contains(have, meshv1beta2.FinalizerCloudMap) {
		p.Release = append(p.Release, meshv1beta2.FinalizerCloudMap)
	}
	return p
}

// planDeleted releases in order: what protects nothing, then members, then resources.
func (g *graph) planDeleted(obj meshv1beta2.Object) Plan {
	p := Plan{Hold: g.hold(obj)}
	for _, f := range meshv1beta2.Finalizers() {
		switch {
		case !slices.Contains(obj.GetFinalizers(), f):
		case f == meshv1beta2.FinalizerCloudMap:
			p.Release = append(p.Release, f)
		case p.Hold != nil: // stays
		case f == meshv1beta2.FinalizerResources:
			p.Leave = append(p.Leave, f)
		default:
			p.Release = append(p.Release, f)
		}
	}
	if !ours(obj) {
		p.Hold = nil // it waits for somebody else's finalizers
	}
	return p
}

// ours is true when one of the finalizers that we hold back is there.
func ours(obj meshv1beta2.Object) bool {
	return slices.ContainsFunc(wanted(obj), func(f string) bool { return slices.Contains(obj.GetFinalizers(), f) })
}

// hold returns why an object that is being deleted must stay, or nil.
func (g *graph) hold(obj meshv1beta2.Object) *Hold {
	switch o := obj.(type) {
	case *meshv1beta2.Mesh:
		return membersHold("mesh-members", "the mesh still has members", g.members[o.UID])
	case *meshv1beta2.VirtualGateway:
		if !g.meshExists(o) {
			return nil
		}
		return membersHold("virtualgateway-members", "gateway routes are still attached", g.members[o.UID])
	}
	holders := g.holding(input.ID(obj))
	if len(holders) == 0 {
		return nil
	}
	names := make([]string, len(holders))
	for i, h := range holders {
		names[i] = h.String()
	}
	return &Hold{Recorder: input.ID(obj).Kind, Reason: ReasonPendingReferences,
		Message: fmt.Sprintf("still in use and served until then by: %s; delete these or point them elsewhere", shorten(names))}
}

func membersHold(recorder, what string, count map[string]int) *Hold {
	var parts []string
	for _, k := range meshv1beta2.Kinds {
		if n := count[k.Name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", strings.ToLower(k.Name[:1])+k.Name[1:], n))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return &Hold{Recorder: recorder, Reason: ReasonPendingMembers, Message: what + ", delete them first; " + strings.Join(parts, ", ")}
}

// shorten lists at most ten names: an event's note has 1 kB.
func shorten(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

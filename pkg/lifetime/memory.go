package lifetime

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Memory is what a replica remembers from pass to pass: the last accepted form of every object. Its zero value is ready. Calls
// must not overlap.
//
// An object is accepted when a pass finds no fault in it, or none that its last accepted form does not share; it then stays
// accepted whatever happens around it.
type Memory struct {
	accepted map[mesh.Object]meshv1beta2.Object
}

// Objects returns the input of the next pass: what is to be served, with the accepted forms of objects that were changed since.
// o.Accepted are those read from revisions; they count where this replica knows nothing better.
func (m *Memory) Objects(o *input.Objects) *input.Objects {
	out := *Serve(o)
	stored := make(map[mesh.Object]meshv1beta2.Object, len(o.Accepted))
	for _, a := range o.Accepted {
		if had := stored[input.ID(a)]; had == nil || had.GetGeneration() < a.GetGeneration() {
			stored[input.ID(a)] = a
		}
	}
	out.Accepted = nil
	for obj := range input.All[meshv1beta2.Object](&out) {
		id := input.ID(obj)
		a := m.accepted[id]
		if a == nil || a.GetUID() != obj.GetUID() {
			a = stored[id]
		}
		if a != nil && a.GetUID() == obj.GetUID() && a.GetGeneration() < obj.GetGeneration() {
			out.Accepted = append(out.Accepted, a)
		}
	}
	return &out
}

// Note learns from a pass what was accepted. o is what Objects returned for it.
func (m *Memory) Note(o *input.Objects, r *input.Result) {
	faulty := map[mesh.Object]bool{}
	for _, p := range r.Problems {
		if p.Severity != mesh.Adjusted {
			faulty[p.Object] = true
		}
	}
	before := make(map[mesh.Object]meshv1beta2.Object, len(o.Accepted))
	for _, a := range o.Accepted {
		before[input.ID(a)] = a
	}
	next := make(map[mesh.Object]meshv1beta2.Object, len(m.accepted))
	for obj := range input.All[meshv1beta2.Object](o) {
		id := input.ID(obj)
		_, kept := r.Kept[id]
		had := m.accepted[id]
		switch {
		case kept:
			next[id] = before[id]
		case !faulty[id], before[id] != nil, had != nil && had.GetUID() == obj.GetUID(), acceptedBefore(obj):
			next[id] = obj
		}
	}
	m.accepted = next
}

// acceptedBefore is true for an object that this replica meets with a fault, and that, as its status tells, was accepted in
// this generation: the fault is in something that vanished since.
func acceptedBefore(obj meshv1beta2.Object) bool {
	c := obj.Common()
	active := meshv1beta2.FindCondition(*c.Conditions, meshv1beta2.ActiveCondition(c.Kind))
	accepted := meshv1beta2.FindCondition(*c.Conditions, meshv1beta2.ConditionAccepted)
	return active != nil && active.Status == metav1.ConditionTrue &&
		accepted != nil && accepted.Status == metav1.ConditionTrue && accepted.ObservedGeneration == obj.GetGeneration()
}

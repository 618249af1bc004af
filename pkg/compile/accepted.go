package compile

import (
	"maps"
	"slices"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// keepAccepted serves the last accepted specification of an object in place of one that has a fault which the accepted one, in
// the same surroundings, has not. r is the pass over the current specifications; the result's problems are about these.
//
// A fault that both have came from outside, for example a referent that vanished: then the current one is served, with the
// fallbacks that go with the fault, and edits of other fields take effect.
func (c *Compiler) keepAccepted(in *input.Objects, r *input.Result) *input.Result {
	accepted, current := acceptedOf(in), r.Certificates
	kept, own, passed := map[mesh.Object]meshv1beta2.Object{}, map[mesh.Object][]mesh.Problem{}, map[mesh.Object]bool{}
	// What is kept may be at odds with the rest and thus find further candidates. Chains longer than the bound go on with
	// the fallbacks.
	const rounds = 4
	for range rounds {
		faults := faultsOf(r)
		fresh := map[mesh.Object]meshv1beta2.Object{}
		for id := range faults {
			if a := accepted[id]; a != nil && kept[id] == nil && !passed[id] {
				fresh[id] = a
			}
		}
		if len(fresh) == 0 {
			break
		}
		after := c.tryAccepted(in, kept, fresh, faults, passed)
		for id, a := range fresh {
			kept[id], own[id] = a, problemsOf(r, id)
		}
		r = after
	}
	r.Certificates = both(current, r.Certificates)
	r.Kept = make(map[mesh.Object]int64, len(kept))
	r.Problems = slices.DeleteFunc(r.Problems, func(p mesh.Problem) bool { return kept[p.Object] != nil })
	for id, a := range kept {
		r.Kept[id] = a.GetGeneration()
		r.Problems = append(r.Problems, own[id]...)
	}
	slices.SortFunc(r.Problems, mesh.Problem.Compare)
	return r
}

// both are the certificates that the current specifications ask for and those that the served ones do. An object may be kept just
// because the certificate of its current one is not there yet.
func both(current, served []input.CertificateRequest) []input.CertificateRequest {
	out := slices.Clone(served)
	for _, r := range current {
		i := slices.IndexFunc(out, func(x input.CertificateRequest) bool { return x.Object == r.Object })
		if i < 0 {
			out = append(out, r)
			continue
		}
		out[i].DNS = slices.Compact(slices.Sorted(slices.Values(slices.Concat(out[i].DNS, r.DNS))))
	}
	slices.SortFunc(out, func(x, y input.CertificateRequest) int { return x.Object.Compare(y.Object) })
	return out
}

// tryAccepted compiles with the accepted specifications of kept and fresh objects, and moves those that are not better off so
// from fresh to passed, until all that remain are. It returns the last pass. What remains does not depend on what was passed:
// a replica that knows only the accepted forms of kept objects decides the same.
func (c *Compiler) tryAccepted(in *input.Objects, kept, fresh map[mesh.Object]meshv1beta2.Object, faults map[mesh.Object]map[fault]bool, passed map[mesh.Object]bool) *input.Result {
	for tries := 8; ; tries-- {
		by := maps.Clone(kept)
		maps.Copy(by, fresh)
		after := c.pass(substitute(in, by))
		remaining, settled := faultsOf(after), true
		for id := range fresh {
			if tries == 0 || contains(remaining[id], faults[id]) {
				delete(fresh, id)
				passed[id], settled = true, false
			}
		}
		if settled {
			return after
		}
	}
}

// acceptedOf returns the accepted specifications that differ from the current ones of the same object.
func acceptedOf(in *input.Objects) map[mesh.Object]meshv1beta2.Object {
	given := make(map[mesh.Object]meshv1beta2.Object, len(in.Accepted))
	for _, a := range in.Accepted {
		given[input.ID(a)] = a
	}
	out := map[mesh.Object]meshv1beta2.Object{}
	for o := range input.All[meshv1beta2.Object](in) {
		if a := given[input.ID(o)]; a != nil && a.GetUID() == o.GetUID() && a.GetGeneration() != o.GetGeneration() {
			out[input.ID(o)] = a
		}
	}
	return out
}

// fault is what two specifications are compared by; the place of a fault moves when lists are edited.
type fault struct{ reason, message string }

// faultsOf returns, by object, what keeps it or parts of it from being served.
func faultsOf(r *input.Result) map[mesh.Object]map[fault]bool {
	out := map[mesh.Object]map[fault]bool{}
	for _, p := range r.Problems {
		if p.Severity == mesh.Adjusted {
			continue
		}
		if out[p.Object] == nil {
			out[p.Object] = map[fault]bool{}
		}
		out[p.Object][fault{p.Reason, p.Message}] = true
	}
	return out
}

func contains(all, some map[fault]bool) bool {
	for f := range some {
		if !all[f] {
			return false
		}
	}
	return true
}

func problemsOf(r *input.Result, id mesh.Object) []mesh.Problem {
	var out []mesh.Problem
	for _, p := range r.Problems {
		if p.Object == id {
			out = append(out, p)
		}
	}
	return out
}

// substitute returns the objects with the given specifications in place of the current ones. System fields stay as they are now.
func substitute(in *input.Objects, by map[mesh.Object]meshv1beta2.Object) *input.Objects {
	return in.Replace(func(o meshv1beta2.Object) meshv1beta2.Object {
		if accepted := by[input.ID(o)]; accepted != nil {
			return meshv1beta2.WithSpec(o, accepted)
		}
		return o
	})
}

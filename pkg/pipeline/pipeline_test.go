package pipeline_test

import (
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// turn replaces the only router's weight, as one more generation, and runs a pass.
func turn(p *pipeline.Pipeline, o *input.Objects, target string) *pipeline.Snapshot {
	editFirstRouter(o, target, 1)
	return p.Step(o)
}

func TestAcknowledgedMeansTheContentOfThisPass(t *testing.T) {
	t.Parallel()
	o := fleet(3, 1, 2)
	p := pipeline.New(nil, time.Now)
	const group = "mesh/m/virtualNode/n2_ns" // calls n0 and n1
	first := p.Step(o)
	a := first.Sets[group].Version
	router := input.AppMesh("VirtualRouter", "ns", "n0")
	if p.AckedThrough(group, a, a) < first.Introduced(router) {
		t.Error("a proxy that runs everything does not count")
	}
	second := turn(p, o, "n1")
	b := second.Sets[group].Version
	if a == b {
		t.Fatal("another target makes the same content")
	}
	if got := p.AckedThrough(group, a, b); got >= second.Introduced(router) {
		t.Errorf("a proxy with the old content counts for pass %d", got)
	}
	third := turn(p, o, "n0") // back to the content of the first pass
	if third.Sets[group].Version != a {
		t.Fatal("the same target makes another content")
	}
	if got := p.AckedThrough(group, a, b); got >= third.Introduced(router) {
		t.Errorf("a proxy that acknowledged A and is on its way to B counts for the second A (pass %d)", got)
	}
	if got := p.AckedThrough(group, a, a); got < third.Introduced(router) {
		t.Errorf("a proxy that is back at A does not count (pass %d)", got)
	}
	if got := p.AckedThrough(group, "never", a); got != 0 {
		t.Errorf("unknown content counts for pass %d", got)
	}
}

func TestAGenerationThatChangesNoByteIsAcknowledgedAtOnce(t *testing.T) {
	t.Parallel()
	o := fleet(3, 1, 2)
	p := pipeline.New(nil, time.Now)
	const group = "mesh/m/virtualNode/n2_ns"
	a := p.Step(o).Sets[group].Version
	s := turn(p, o, "n0") // the generation changes, the target does not
	if s.Changed != 0 {
		t.Fatalf("%d groups changed", s.Changed)
	}
	router := input.AppMesh("VirtualRouter", "ns", "n0")
	if s.Introduced(router) != s.Seq || p.AckedThrough(group, a, a) < s.Seq {
		t.Error("a proxy that runs the same content does not count for the new generation")
	}
}

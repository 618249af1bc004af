package random

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

var (
	sets = flag.Int("sets", 2000, "how many sets to compile and translate")
	seed = flag.Uint64("seed", 1, "seed of the first set")
)

// TestRandomSets compiles and translates: no panic, nothing that Envoy's own rules refuse, the same bytes in any order, and a
// problem for everything that is left out.
func TestRandomSets(t *testing.T) {
	groups := 0
	for i := range *sets {
		s := *seed + uint64(i)
		g := New(s)
		o := g.Objects()
		got := pipeline.New(nil, time.Now).Step(o)
		if len(got.Faults) > 0 {
			t.Fatalf("seed %d: compile let faults through: %v", s, got.Faults)
		}
		for _, err := range got.Failed {
			t.Fatalf("seed %d: %v", s, err)
		}
		groups += len(got.Sets)
		again := pipeline.New(nil, time.Now).Step(g.Shuffle(o))
		for id, set := range got.Sets {
			if again.Sets[id] == nil || again.Sets[id].Version != set.Version {
				t.Fatalf("seed %d: group %s depends on the order of the objects", s, id)
			}
		}
		if len(got.Sets) != len(again.Sets) || !slices.Equal(got.Result.Problems, again.Result.Problems) {
			t.Fatalf("seed %d: groups or problems depend on the order of the objects:\n%v\n%v", s, got.Result.Problems, again.Result.Problems)
		}
		if what := silent(o, got.Result); what != "" {
			t.Fatalf("seed %d: %s is left out without a word", s, what)
		}
		for _, w := range got.Result.Model.Workloads {
			if cluster := undefined(w); cluster != "" {
				t.Fatalf("seed %d: %s leads to the cluster %s, which is not defined", s, w.Object, cluster)
			}
		}
	}
	t.Logf("%d sets, %d groups of proxies", *sets, groups)
	if groups < *sets {
		t.Errorf("only %d groups in %d sets: the sets prove little", groups, *sets)
	}
}

// undefined returns a cluster that a listener or route of the workload leads to although it is not among its destinations.
func undefined(w *mesh.Workload) string {
	defined := map[string]mesh.Hash{}
	for _, d := range w.Destinations {
		defined[d.Cluster] = d.Fingerprint
	}
	missing := func(targets []mesh.Target) string {
		for _, t := range targets {
			if t.Destination != nil && (t.Cluster != t.Destination.Cluster || defined[t.Cluster] != t.Destination.Fingerprint) {
				return t.Cluster
			}
		}
		return ""
	}
	for _, l := range slices.Concat(w.Inbound, w.Outbound) {
		if c := missing(l.Targets); c != "" {
			return c
		}
		if l.Routes == nil {
			continue
		}
		for _, h := range l.Routes.Hosts {
			for _, r := range h.Routes {
				if c := missing(r.Targets); c != "" {
					return c
				}
			}
		}
	}
	return ""
}

// silent returns something that is not served although no problem says so.
func silent(o *input.Objects, r *input.Result) string {
	told := map[mesh.Object]bool{}
	for _, p := range r.Problems {
		told[p.Object] = true
	}
	served := map[mesh.Object]bool{}
	listeners := map[mesh.Object]int{}
	for _, w := range r.Model.Workloads {
		served[w.Object], listeners[w.Object] = true, len(w.Inbound)
		for _, l := range w.Inbound {
			if l.Routes == nil {
				continue
			}
			for _, h := range l.Routes.Hosts {
				for _, route := range h.Routes {
					served[route.Object] = true
				}
			}
		}
	}
	for v := range input.All[*meshv1beta2.GatewayRoute](o) {
		if id := input.AppMesh("GatewayRoute", v.Namespace, v.Name); !served[id] && !told[id] {
			return id.String()
		}
	}
	for v := range input.All[*meshv1beta2.VirtualNode](o) {
		id := input.AppMesh("VirtualNode", v.Namespace, v.Name)
		if !told[id] && (!served[id] || listeners[id] != len(v.Spec.Listeners)) {
			return id.String()
		}
	}
	for v := range input.All[*meshv1beta2.VirtualGateway](o) {
		id := input.AppMesh("VirtualGateway", v.Namespace, v.Name)
		if !told[id] && (!served[id] || listeners[id] != len(v.Spec.Listeners)) {
			return id.String()
		}
	}
	return ""
}

func TestEqualSeedsMakeEqualSets(t *testing.T) {
	x, y := pipeline.New(nil, time.Now).Step(New(7).Objects()), pipeline.New(nil, time.Now).Step(New(7).Objects())
	if !slices.Equal(x.Result.Problems, y.Result.Problems) || len(x.Sets) != len(y.Sets) {
		t.Error("two sets of one seed differ")
	}
	var all strings.Builder
	for _, p := range x.Result.Problems {
		all.WriteString(p.Message)
	}
	if all.Len() == 0 {
		t.Error("a random set has no fault at all")
	}
}

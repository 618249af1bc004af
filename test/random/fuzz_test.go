package random

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/test/golden"
)

// FuzzManifests reads any bytes as manifests, compiles and translates them: no panic, nothing that Envoy's own rules refuse, and
// the same bytes from the objects in another order. It begins with the inputs of the golden files.
func FuzzManifests(f *testing.F) {
	files, err := filepath.Glob("../../pkg/pipeline/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		g, err := golden.Parse(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(g.Files[0].Data, true)
		f.Add(g.Files[0].Data, false)
	}
	f.Fuzz(func(t *testing.T, manifests []byte, offline bool) {
		in, err := source.ReadFiles([]string{"-"}, "default", bytes.NewReader(manifests))
		if err != nil {
			t.Fatalf("bad manifests are faults, not an error: %v", err)
		}
		o := &in.Objects
		o.Settings.Offline, o.Settings.Loopback, o.Settings.BackendGroups = offline, offline, true
		p := pipeline.New(nil, time.Now)
		s := p.Step(o)
		for _, err := range s.Failed {
			t.Fatal(err)
		}
		if len(s.Faults) > 0 {
			t.Fatalf("compile let faults through: %v", s.Faults)
		}
		again := pipeline.New(nil, time.Now).Step(New(1).Shuffle(o))
		for id, set := range s.Sets {
			if again.Sets[id] == nil || again.Sets[id].Version != set.Version {
				t.Fatalf("group %s depends on the order of the objects", id)
			}
		}
	})
}

// FuzzSets compiles and translates made-up sets of which every object is well typed.
func FuzzSets(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s := pipeline.New(nil, time.Now).Step(New(seed).Objects())
		for _, err := range s.Failed {
			t.Fatal(err)
		}
		if len(s.Faults) > 0 {
			t.Fatalf("compile let faults through: %v", s.Faults)
		}
	})
}

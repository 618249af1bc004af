package pipeline_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/aftermesh/aftermesh/test/golden"
)

var update = flag.Bool("update", false, "rewrite the expected sections of the golden files")

// TestGolden runs every file of testdata, see package golden. The comment of a file says what it is about.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			compare(t, file)
		})
	}
}

func compare(t *testing.T, file string) {
	t.Helper()
	g, err := golden.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Step(g.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	for i, f := range g.Files[1:] {
		got, err := golden.Section(s, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case got == string(f.Data):
		case *update:
			g.Files[i+1].Data, changed = []byte(got), true
		default:
			t.Errorf("%s (run with -update to accept):\n%s", f.Name, cmp.Diff(string(f.Data), got))
		}
	}
	if changed {
		if err := os.WriteFile(file, txtar.Format(g.Archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

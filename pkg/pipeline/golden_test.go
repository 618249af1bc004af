package pipeline_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

var update = flag.Bool("update", false, "rewrite the expected sections of the golden files")

var sections = map[string]string{
	"lds": xds.ListenerType, "rds": xds.RouteType, "cds": xds.ClusterType, "eds": xds.EndpointType,
	"sds": xds.SecretType,
}

// TestGolden runs every file of testdata: manifests in, chosen resources and problems out. The comment of a file says what it
// is about; a file with "cluster: true" in its comment is compiled as in a cluster, with the Pods and slices it contains.
//
//	-- input.yaml --
//	-- problems --
//	-- <group id> rds --
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			golden(t, file)
		})
	}
}

func golden(t *testing.T, file string) {
	t.Helper()
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := stepArchive(t, ar)
	changed := false
	for i, f := range ar.Files {
		if f.Name == "input.yaml" {
			continue
		}
		got := section(t, s, f.Name)
		if got == string(f.Data) {
			continue
		}
		if *update {
			ar.Files[i].Data, changed = []byte(got), true
			continue
		}
		t.Errorf("%s (run with -update to accept):\n%s", f.Name, cmp.Diff(string(f.Data), got))
	}
	if changed {
		if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func stepArchive(t *testing.T, ar *txtar.Archive) *pipeline.Snapshot {
	t.Helper()
	for _, f := range ar.Files {
		if f.Name != "input.yaml" {
			continue
		}
		in, err := source.ReadFiles([]string{"-"}, "default", strings.NewReader(string(f.Data)))
		if err != nil || len(in.Faults) > 0 {
			t.Fatal(err, in.Faults)
		}
		in.Objects.Settings.Offline = !strings.Contains(string(ar.Comment), "cluster: true")
		in.Objects.Settings.EgressExempt = []string{"*.amazonaws.com"}
		in.Objects.Settings.BackendGroups = strings.Contains(string(ar.Comment), "groups: true")
		s := pipeline.New(nil, time.Now).Step(&in.Objects)
		for _, err := range s.Failed {
			t.Fatal(err)
		}
		return s
	}
	t.Fatal("no input.yaml")
	return nil
}

func section(t *testing.T, s *pipeline.Snapshot, name string) string {
	t.Helper()
	var sb strings.Builder
	if name == "problems" {
		for _, p := range s.Result.Problems {
			fmt.Fprintf(&sb, "%s %s %s %s\n  %s\n", p.Severity, p.Object, p.Reason, p.Path, p.Message)
		}
		return sb.String()
	}
	group, kind, ok := strings.Cut(name, " ")
	set := s.Sets[group]
	if !ok || set == nil || sections[kind] == "" {
		t.Fatalf("section %q is not '<group id> lds|rds|cds|eds|sds' of an existing group", name)
	}
	for _, r := range set.Resources(sections[kind]) {
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.JSONToYAML(js)
		if err != nil {
			t.Fatal(err)
		}
		sb.WriteString("# " + r.Name + "\n")
		sb.Write(y)
	}
	return sb.String()
}

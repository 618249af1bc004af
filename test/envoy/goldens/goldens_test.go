package goldens

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/translate"
	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/golden"
)

// versions are the oldest and the newest Envoy supported, and one between.
var versions = []string{"1.37.0", "1.38.3", "1.40.0"}

func TestEnvoyTakesEveryGolden(t *testing.T) {
	t.Parallel()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../../pkg/pipeline/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, version := range versions {
		for _, file := range files {
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				t.Parallel()
				for name, config := range configurations(t, file) {
					args := append(cluster.StaticFlags(version), "--mode", "validate", "-c", config, "--log-level", "error", "--base-id", "0", "--disable-hot-restart")
					if out, err := exec.CommandContext(t.Context(), layout.Envoy(version), args...).CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", name, err, out)
					}
				}
			})
		}
	}
}

// configurations writes the static form of every group of a golden file and returns the files by group.
func configurations(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := golden.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Step(f.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, g := range s.Result.Model.Groups {
		b, err := translate.Static(g, s.Sets[g.ID])
		if err != nil {
			t.Fatal(err)
		}
		provideFiles(t, b)
		js, err := protojson.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "envoy.json")
		if err := os.WriteFile(path, js, 0o600); err != nil {
			t.Fatal(err)
		}
		out[g.ID] = path
	}
	return out
}

// provideFiles puts a certificate with its key where the secrets look for files, because Envoy reads them when it validates.
func provideFiles(t *testing.T, b *bootstrapv3.Bootstrap) {
	t.Helper()
	if len(b.StaticResources.Secrets) == 0 {
		return
	}
	a, err := identity.NewAuthority("golden", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := a.Leaf(identity.Names{DNS: []string{"golden"}}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(s *corev3.DataSource, content []byte) {
		if s.GetFilename() == "" {
			return
		}
		path := filepath.Join(dir, filepath.Base(s.GetFilename()))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s.Specifier = &corev3.DataSource_Filename{Filename: path}
	}
	for _, s := range b.StaticResources.Secrets {
		if c := s.GetTlsCertificate(); c != nil {
			put(c.CertificateChain, chain)
			put(c.PrivateKey, key)
			c.WatchedDirectory = nil
		} else if v := s.GetValidationContext(); v != nil {
			put(v.TrustedCa, a.PEM())
			v.WatchedDirectory = nil
		}
	}
}

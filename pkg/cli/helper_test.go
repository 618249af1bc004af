package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/pflag"
)

func TestWaitReadyWaitsUntilTheAnswerIsGood(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	if code, _, said := aftermesh(t, "", "wait-ready", "--url", server.URL); code != 0 || asked.Load() != 3 {
		t.Errorf("code %d after %d questions: %s", code, asked.Load(), said)
	}
	server.Config.Handler = http.NotFoundHandler()
	if code, _, said := aftermesh(t, "", "wait-ready", "--url", server.URL, "--timeout", "2s"); code != 1 || !strings.Contains(said, "is not ready: it answers 404") {
		t.Errorf("code %d: %s", code, said)
	}
}

func TestBootstrapCopiesItself(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "aftermesh")
	for range 2 { // the second time over the first
		if code, _, said := aftermesh(t, "", "bootstrap", "--install", path); code != 0 {
			t.Fatalf("code %d: %s", code, said)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o755 || info.Size() == 0 {
		t.Errorf("%v %v", info, err)
	}
	if left, err := filepath.Glob(path + "?*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestBootstrapNamesTheVariableOfAFileThatIsNotThere(t *testing.T) {
	t.Setenv("ENVOY_STATS_CONFIG_FILE", "/nowhere/stats.yaml")
	code, _, said := aftermesh(t, "", "bootstrap", "--base", "{}", "--output", filepath.Join(t.TempDir(), "b"))
	if code != 1 || !strings.Contains(said, "variable ENVOY_STATS_CONFIG_FILE names a file that cannot be read; mount it") {
		t.Errorf("code %d: %s", code, said)
	}
	if code, _, said := aftermesh(t, "", "bootstrap", "--base", "{}"); code != 2 {
		t.Errorf("code %d: %s", code, said)
	}
}

func TestEveryFlagOfInjectionIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/injection.md")
	if err != nil {
		t.Fatal(err)
	}
	o := newOperatorFlags()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.addSidecar(flags)
	o.addTelemetry(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(page), "`--"+f.Name+"`") {
			t.Errorf("docs/injection.md does not name --%s", f.Name)
		}
	})
}

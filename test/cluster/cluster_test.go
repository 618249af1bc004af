package cluster

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTemplatesRenderForEveryFamily(t *testing.T) {
	for name, fams := range families {
		s := settings{State: "/state", Families: fams, Resolvers: ""}
		for _, template := range []string{"containerd.toml", "cni.json", "kubelet.yaml", "kube-proxy.yaml", "dns.yaml"} {
			out, err := s.render(template)
			if err != nil {
				t.Errorf("%s, %s: %v", name, template, err)
			}
			if template == "cni.json" && !json.Valid(out) {
				t.Errorf("%s: CNI configuration is no JSON:\n%s", name, out)
			}
			if strings.Contains(string(out), "forward .") {
				t.Errorf("%s, %s: forwards although there is no resolver", name, template)
			}
		}
	}
}

// A pid is never enough: after a reboot, or when the kernel gave it away, a record must not hit a stranger.
func TestOnlyTheRecordedProcessIsAlive(t *testing.T) {
	dir := t.TempDir()
	p, err := spawn{name: "sleep", argv: []string{"sleep", "60"}, logFile: filepath.Join(dir, "log"), records: filepath.Join(dir, "pids")}.start()
	if err != nil {
		t.Fatal(err)
	}
	read := recorded(filepath.Join(dir, "pids"))
	if len(read) != 1 || !read[0].alive() {
		t.Fatalf("record of a running process: %+v", read)
	}
	reused, rebooted := *read[0], *read[0]
	reused.Start, rebooted.Boot = "1", "another"
	if reused.alive() || rebooted.alive() {
		t.Error("a stranger with the same pid passes for the recorded process")
	}
	if err := p.stop(time.Second); err != nil || read[0].alive() {
		t.Errorf("alive after stop, error %v", err)
	}
}

func TestKubernetesVersionComesFromGoMod(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go.mod")
	if err := os.WriteFile(file, []byte("module x\nrequire (\n\tk8s.io/kubernetes v1.30.14\n)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	version, err := kubernetesVersion(file)
	if err != nil || version != "v1.30.14" {
		t.Errorf("got %q, %v", version, err)
	}
	if flags := ldflags(version); !strings.Contains(flags, "gitMinor=30") {
		t.Errorf("minor version not stamped: %s", flags)
	}
}

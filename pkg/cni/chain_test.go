package cni

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

var entry = Entry{Kubeconfig: "/etc/cni/net.d/aftermesh-cni.kubeconfig", RecordDir: "/run/aftermesh-cni"}

const ours = `{"kubeconfig":"/etc/cni/net.d/aftermesh-cni.kubeconfig","recordDir":"/run/aftermesh-cni","type":"aftermesh-cni"}`

func TestJoinPutsThePluginLastAndKeepsTheRest(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a list", `{"cniVersion":"1.0.0","name":"n","extra":{"mtu":1450,"big":12345678901234567890},"plugins":[{"type":"bridge"},{"type":"portmap"}]}`,
			`{"cniVersion":"1.0.0","name":"n","extra":{"mtu":1450,"big":12345678901234567890},"plugins":[{"type":"bridge"},{"type":"portmap"},` + ours + `]}`},
		{"a single plugin", `{"cniVersion":"0.3.1","name":"n","type":"bridge","bridge":"b"}`,
			`{"cniVersion":"0.3.1","name":"n","plugins":[{"type":"bridge","bridge":"b"},` + ours + `]}`},
		{"a single plugin without a version", `{"name":"n","type":"bridge"}`, `{"name":"n","plugins":[{"type":"bridge"},` + ours + `]}`},
		{"an old entry of ours in the middle", `{"name":"n","plugins":[{"type":"bridge"},{"type":"aftermesh-cni","kubeconfig":"/old"},{"type":"portmap"}]}`,
			`{"name":"n","plugins":[{"type":"bridge"},{"type":"portmap"},` + ours + `]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, changed, err := join([]byte(c.in), entry)
			if err != nil || !changed {
				t.Fatal(changed, err)
			}
			equalJSON(t, c.want, string(got))
			again, changed, err := join(got, entry)
			if err != nil || changed || string(again) != string(got) {
				t.Errorf("joined twice: changed %v, %v", changed, err)
			}
			without, changed, err := leave(got)
			if err != nil || !changed {
				t.Fatal(changed, err)
			}
			if _, changed, err = leave(without); err != nil || changed {
				t.Errorf("left twice: changed %v, %v", changed, err)
			}
		})
	}
}

func TestJoinRefusesWhatIsNoNetwork(t *testing.T) {
	for _, in := range []string{``, `null`, `[]`, `{"name":"n"}`, `{"plugins":[]}`, `{"plugins":7}`, `{"type":`} {
		if out, _, err := join([]byte(in), entry); err == nil {
			t.Errorf("%q became %s", in, out)
		}
	}
}

// A node is set up from nothing, survives an add-on that rewrites its configuration, and is left as it was found.
func TestInstallerKeepsThePluginInPlace(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"program": "the program", "sa/token": "t1", "sa/ca.crt": "authority", "bin/bridge": "b", "net.d/README": "no network"} {
		put(name, content)
	}
	i := &Installer{
		Program: in("program"), BinDir: in("bin"), NetDir: in("net.d"), HostNetDir: "/etc/cni/net.d", RecordDir: in("records"),
		HostRecordDir: "/run/aftermesh-cni", ServiceAccount: in("sa"), APIServer: "https://10.0.0.1:443", Log: logr.Discard(),
	}
	if _, err := i.Pass(); err == nil || i.InPlace() == nil {
		t.Fatal("no network configuration, and no error")
	}
	const network = `{"cniVersion":"1.0.0","name":"n","type":"bridge"}`
	put("net.d/10-n.conf", network)
	put("net.d/20-other.conflist", `{"name":"other","plugins":[{"type":"x"}]}`)
	steps := []struct {
		what, want string
		before     func()
	}{
		{"first", " chain", func() {}},
		{"nothing to do", "", func() {}},
		{"the token has rotated", " credential", func() { put("sa/token", "t2") }},
		{"a new release", " program", func() { put("program", "newer") }},
		{"the add-on rewrites its configuration", " chain", func() { put("net.d/10-n.conflist", `{"name":"n","plugins":[{"type":"bridge"}]}`) }},
	}
	for _, s := range steps {
		s.before()
		got, err := i.Pass()
		if err != nil || got != s.want {
			t.Errorf("%s: changed %q, want %q: %v", s.what, got, s.want, err)
		}
		if err := i.InPlace(); err != nil {
			t.Errorf("%s: %v", s.what, err)
		}
	}
	if _, err := os.Stat(in("net.d/10-n.conf")); err == nil {
		t.Error("the single plugin's file is still there and comes first")
	}
	other, err := os.ReadFile(in("net.d/20-other.conflist"))
	if err != nil || string(other) != `{"name":"other","plugins":[{"type":"x"}]}` {
		t.Errorf("a network that is not used became %s, %v", other, err)
	}
	if err := i.Remove(); err != nil || i.InPlace() == nil {
		t.Error("removed: ", err)
	}
	left, err := os.ReadFile(in("net.d/10-n.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	equalJSON(t, `{"name":"n","plugins":[{"type":"bridge"}]}`, string(left))
}

func equalJSON(t *testing.T, want, got string) {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(want), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got), &y); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, y); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

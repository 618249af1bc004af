package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/translate"
	"github.com/aftermesh/aftermesh/test/cluster"
)

// inside is set in the network namespace.
const inside = "AFTERMESH_CLIENTS_INSIDE"

// versions are the newest and the oldest Envoy supported.
var versions = []string{"1.40.0", "1.37.0"}

// Addresses of the laboratory. What is sent to services passes the outbound listener of front, what is sent to a workload its inbound one.
const (
	services = "127.0.9.1"
	front    = "127.0.1.1"
	back     = "127.0.2.1"
	web      = "127.0.3.1"
)

// proxyGroup is that of proxies: what they send to services is not redirected to them again.
const proxyGroup = 1337

const rules = `table ip lab {
  chain output { type nat hook output priority -100;
    ip daddr 127.0.9.1 meta l4proto tcp meta skgid != 1337 dnat to 127.0.1.1:15001
    ip daddr 127.0.2.1 tcp dport 8080-8099 dnat to 127.0.2.1:15000
    ip daddr 127.0.3.1 tcp dport 8080-8099 dnat to 127.0.3.1:15000
  }
}
`

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("unshare", append([]string{"--net", "sh", "-c",
		`ip link set lo up && printf '%s' "$RULES" | nft -f - && exec "$0" "$@"`}, os.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), inside+"=1", "RULES="+rules), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lab is the proxies of some manifests.
type lab struct {
	t        *testing.T
	stdout   *os.File
	snapshot *pipeline.Snapshot
	admins   map[string]*http.Client
}

// onEachEnvoy runs a test in a laboratory of each version.
func onEachEnvoy(t *testing.T, manifests string, test func(t *testing.T, l *lab)) {
	t.Helper()
	for _, v := range versions {
		t.Run(v, func(t *testing.T) { test(t, start(t, v, manifests)) })
	}
}

// start starts a proxy for each node and gateway of the manifests.
func start(t *testing.T, version, manifests string) *lab {
	t.Helper()
	return startWith(t, version, manifests, nil)
}

// startWith does so with an output for what proxies print; without one a failed test shows it.
func startWith(t *testing.T, version, manifests string, stdout *os.File) *lab {
	t.Helper()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(path, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := source.ReadFiles([]string{path}, "demo", nil)
	if err != nil || len(files.Faults) > 0 {
		t.Fatal(err, files.Faults)
	}
	l := &lab{t: t, stdout: stdout, snapshot: pipeline.New(nil, time.Now).Step(&files.Objects), admins: map[string]*http.Client{}}
	for _, p := range l.snapshot.Result.Problems {
		t.Log(p.Object, p.Path, p.Message)
	}
	groups := slices.DeleteFunc(slices.Clone(l.snapshot.Result.Model.Groups), func(g *mesh.Group) bool {
		return !g.Workload.ID.Gateway && addresses[nameOf(g)] == ""
	})
	for _, g := range groups {
		l.envoy(layout.Envoy(version), g)
	}
	for _, g := range groups {
		l.eventually(nameOf(g)+" is ready", func() bool { return strings.Contains(l.admin(nameOf(g), "/ready"), "LIVE") })
	}
	return l
}

// envoy starts the proxy of a group with its resources in the bootstrap.
func (l *lab) envoy(binary string, g *mesh.Group) {
	l.t.Helper()
	b, err := translate.Static(g, l.snapshot.Sets[g.ID])
	if err != nil {
		l.t.Fatal(err)
	}
	// A socket's path is limited to 108 bytes, which a test's own folder may exceed.
	dir, err := os.MkdirTemp("", "clients")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := nameOf(g)
	settle(b, name)
	pod, err := bootstrap.New(bootstrap.Settings{NodeID: g.Workload.ID.String(), Admin: bootstrap.Admin{Pipe: "/x"}, ControlPlane: bootstrap.ControlPlane{
		Host: "127.0.0.1", Port: 1, ServerName: "x", CA: "x", CredentialDir: "/tmp", CredentialFile: "/tmp/x",
	}})
	if err != nil {
		l.t.Fatal(err)
	}
	b.LayeredRuntime = pod.LayeredRuntime
	socket := filepath.Join(dir, "admin")
	b.Admin = &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: socket}}}}
	config, err := protojson.Marshal(b)
	if err != nil {
		l.t.Fatal(err)
	}
	file := filepath.Join(dir, "envoy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.run(name, binary, append(cluster.StaticFlags(binary),
		"-c", file, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1", "--file-flush-interval-msec", "100")...)
	l.admins[name] = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

// addresses are those of the nodes that have a proxy. Others are applications without one.
var addresses = map[string]string{"front": front, "back": back, "web": web}

// settle gives the listeners of a node its own address; those of a gateway stay.
func settle(b *bootstrapv3.Bootstrap, name string) {
	address := addresses[name]
	if address == "" {
		return
	}
	for _, l := range b.StaticResources.Listeners {
		if l.Address.GetSocketAddress() == nil {
			continue
		}
		l.Address.GetSocketAddress().Address = address
		l.AdditionalAddresses = nil
	}
}

func (l *lab) run(name, program string, args ...string) {
	l.t.Helper()
	var mu sync.Mutex
	var said bytes.Buffer
	out := writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return said.Write(p)
	})
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: proxyGroup}}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, time.Second
	if l.stdout != nil {
		cmd.Stdout = l.stdout
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Logf("%s:\n%s", name, said.String())
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	l.t.Fatalf("never: %s", what)
}

// admin asks the admin interface of a proxy; empty while it does not answer.
func (l *lab) admin(name, path string) string {
	resp, err := l.admins[name].Get("http://admin" + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(b)
}

// nameOf is the name of the object that a group is made from.
func nameOf(g *mesh.Group) string { return g.Workload.Object.Name }

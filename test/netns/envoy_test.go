package netns

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envoyVersion is the Envoy that the project installs.
const envoyVersion = "1.40.0"

// envoyBinary is the one named by the variable ENVOY, else the repository's cached one.
func envoyBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("ENVOY"); path != "" {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, ".cache", "envoy", envoyVersion, "envoy")
			if _, err := os.Stat(path); err != nil {
				t.Fatalf("Envoy %s is not installed: set ENVOY or install it to %s", envoyVersion, path)
			}
			return path
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// sidecar is the shape of a sidecar in a mesh that lets unknown traffic pass: outbound on loopback with a pass-through as
// default chain, inbound on all addresses with a chain per application port and none beside.
const sidecar = `
static_resources:
  listeners:
  - name: outbound
    address: {socket_address: {address: 127.0.0.1, port_value: 15001}}
    additional_addresses: [{address: {socket_address: {address: "::1", port_value: 15001}}}]
    listener_filters: &original
    - name: envoy.filters.listener.original_dst
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}
    default_filter_chain:
      filters:
      - name: tcp
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: out, cluster: original}
  - name: inbound
    address: {socket_address: {address: "::", ipv4_compat: true, port_value: 15000}}
    listener_filters: *original
    filter_chains:
    - filter_chain_match: {destination_port: 8080}
      filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: in, cluster: app}}]
  clusters:
  - {name: original, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, connect_timeout: 2s}
  - name: app
    type: STATIC
    load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}}]}]}
`

// startSidecar runs Envoy in the pod as the proxy's user and waits until it listens.
func startSidecar(l *lab) *exec.Cmd {
	l.t.Helper()
	binary := envoyBinary(l.t)
	var log bytes.Buffer
	cmd := exec.Command(binary, "--config-yaml", sidecar, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1337, Gid: 1337}}
	if err := l.in(l.pod, owner{}, cmd.Start); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Logf("log of Envoy:\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := l.in(l.pod, owner{}, func() error {
			conn, err := net.Dial("tcp", "127.0.0.1:15000")
			if err == nil {
				_ = conn.Close()
			}
			return err
		}); err == nil {
			return cmd
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("Envoy does not listen:\n%s", log.String())
		}
	}
}

// In a mesh that lets unknown traffic pass, one connection from outside to the outbound port would make a proxy that listens
// there on all addresses connect to itself until it has no descriptors left.
func TestARealProxyServesThePodAndCannotBeAbusedFromOutside(t *testing.T) {
	l := newLab(t)
	l.serve(l.pod, "tcp", ":8080", says("app"))
	for _, port := range []string{"80", "53"} {
		l.serve(l.peer, "tcp", ":"+port, says("world"))
	}
	l.apply(config(t, nil))
	envoy := startSidecar(l)
	attempts := bothFamilies([]attempt{
		{"the pod calls out through the proxy", false, owner{}, "far:80", "world"},
		{"the pod calls out past the proxy", false, owner{}, "far:53", "world"},
		{"a caller reaches the application through the proxy", true, owner{}, "pod:8080", "app"},
		{"the outbound port is closed to others", true, owner{}, "pod:15001", "refused"},
	})
	for range 3 {
		for _, a := range attempts {
			a.check(t, l)
		}
	}
	// A connection straight to the inbound port finds no chain: it is closed without a byte.
	for _, address := range []string{podV4 + ":15000", "[" + podV6 + "]:15000"} {
		if got := l.ask(l.peer, owner{}, address); got != "error: EOF" && !strings.Contains(got, "connection reset") {
			t.Errorf("straight to %s: %q, want a closed connection", address, got)
		}
	}
	if n := descriptors(t, envoy.Process.Pid); n > 200 {
		t.Errorf("the proxy holds %d descriptors after a handful of connections", n)
	}
}

// descriptors counts the open files of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatalf("the proxy is gone: %v", err)
	}
	return len(entries)
}

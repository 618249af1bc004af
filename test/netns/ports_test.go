package netns

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/aftermesh/aftermesh/pkg/translate"
	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/golden"
)

// Hosts of the peer. Everything else in the manifests are names and addresses that lead to them.
const (
	hostA, hostB, stranger = "203.0.113.7", "198.51.100.200", "169.254.169.254"
)

// caller is the mesh and the node app, which the pod under test runs as.
const caller = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {egressFilter: {type: EGRESS}, namespaceSelector: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: demo, uid: app, labels: {app: app}, annotations: {aftermesh.dev/node: mesh/m/virtualNode/app_demo, aftermesh.dev/profile: '{"ip":"4"}'}}
status: {phase: Running, podIPs: [{ip: 10.254.7.2}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: app, namespace: demo}
spec:
  podSelector: {matchLabels: {app: app}}
  serviceDiscovery: {dns: {hostname: app.demo}}
  backendDefaults: POLICY
  backends: [BACKENDS]
`

// callerOf returns caller with the names of the services that it may call.
func callerOf(egress, policy string, services ...string) string {
	var refs []string
	for _, s := range services {
		refs = append(refs, "{virtualService: {virtualServiceRef: {name: "+s+"}}}")
	}
	return strings.NewReplacer("EGRESS", egress, "POLICY", policy, "BACKENDS", strings.Join(refs, ", ")).Replace(caller)
}

// backend is a VirtualService with a node that is one host, and a Service with the cluster IP if one is given.
type backend struct {
	name, clusterIP string
	port            int
	protocol, host  string
}

// manifests are a caller and its backends.
func manifests(egress string, list []backend) []byte {
	var b bytes.Buffer
	var names []string
	for i, s := range list {
		fmt.Fprintf(&b, `---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: s%d, namespace: demo}
spec:
  listeners: [{portMapping: {port: %d, protocol: %s}}]
  serviceDiscovery: {dns: {hostname: %s}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: s%d, namespace: demo}
spec: {awsName: %s, provider: {virtualNode: {virtualNodeRef: {name: s%d}}}}
`, i, s.port, s.protocol, s.host, i, s.name, i)
		if s.clusterIP != "" {
			fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: demo}\nspec: {clusterIP: %s, clusterIPs: [%s], ports: [{port: %d}]}\n",
				strings.Split(s.name, ".")[0], s.clusterIP, s.clusterIP, s.port)
		}
		names = append(names, fmt.Sprintf("s%d", i))
	}
	return append([]byte(callerOf(egress, "{}", names...)), b.Bytes()...)
}

// proxy runs Envoy in the pod with what the project makes of the manifests for the node app, and waits until it listens. It returns the
// addresses that the operator's DNS server would answer, by name.
func (l *lab) proxy(version string, manifests []byte) map[string]string {
	l.t.Helper()
	g := golden.File{Archive: &txtar.Archive{Comment: []byte("cluster: true")}}
	s, err := g.Step(manifests)
	if err != nil {
		l.t.Fatal(err)
	}
	addresses := map[string]string{}
	for _, h := range s.Result.Model.Names {
		addresses[h.Name] = h.Addresses[0]
	}
	var config []byte
	for _, g := range s.Result.Model.Groups {
		if g.Workload.Object.Name != "app" {
			continue
		}
		b, err := translate.Static(g, s.Sets[g.ID])
		if err != nil {
			l.t.Fatal(err)
		}
		if config, err = protojson.Marshal(b); err != nil {
			l.t.Fatal(err)
		}
	}
	layout, err := cluster.Find()
	if err != nil {
		l.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ports") // a folder that the proxy's user may read
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "envoy.json")
	if err := os.WriteFile(path, config, 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(layout.Envoy(version), append(cluster.StaticFlags(version),
		"-c", path, "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning")...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1337, Gid: 1337}}
	if err := l.in(l.pod, owner{}, cmd.Start); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Logf("log of Envoy:\n%.20000s", log.String())
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if l.ask(l.pod, owner{1337, 1337}, "127.0.0.1:15001") != "refused" {
			return addresses
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("Envoy does not listen:\n%s", log.String())
		}
	}
}

// host answers at an address of the peer: to HTTP by HTTP, to other bytes at once, and to a client that is silent for 400 ms with its
// name, as servers do that speak first.
func (l *lab) host(name, address string) {
	l.t.Helper()
	l.serve(l.peer, "tcp", address, func(c *net.TCPConn) string {
		_ = c.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
		first, err := bufio.NewReader(c).Peek(4)
		switch {
		case err != nil:
			return name + " speaks first"
		case string(first) == "GET ":
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s", len(name), name)
		default:
			return name
		}
	})
}

// hello is what a TLS client says first.
func hello(t *testing.T, serverName string, alpn ...string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: serverName, NextProtos: alpn, InsecureSkipVerify: true}).Handshake()
	}() // never completes
	buf := make([]byte, 4096)
	n, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// dial is a connection of the application.
type dial struct {
	name, to string
	say      []byte
	// closing and open are the answers with DROP_ALL and ALLOW_ALL; empty is a connection that is closed.
	closing, open string
}

// talk returns the last line of the answer, and how long it took.
func (l *lab) talk(d dial) (answer string, took time.Duration) {
	l.t.Helper()
	_ = l.in(l.pod, owner{}, func() error {
		begin := time.Now()
		conn, err := net.DialTimeout("tcp", d.to, 3*time.Second)
		if err != nil {
			answer = err.Error()
			return nil
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write(d.say)
		all, err := io.ReadAll(conn)
		took = time.Since(begin)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			answer = "nothing for 5 s: "
		}
		lines := strings.Split(string(all), "\r\n")
		if answer += lines[len(lines)-1]; answer == "" && len(lines) > 1 {
			answer = strings.TrimPrefix(lines[0], "HTTP/1.1 ")
		}
		return nil
	})
	return answer, took
}

// Connections of an application whose backends share ports, through real proxies with what the project makes for them.
func TestNoConnectionReachesABackendThatNobodyMeant(t *testing.T) {
	list := []backend{
		{"a.example.org", "", 443, "tcp", hostA}, {"b.example.org", "", 443, "tcp", hostB},
		{"one.demo.svc.cluster.local", "203.0.113.101", 6000, "tcp", hostA}, {"two.demo.svc.cluster.local", "203.0.113.102", 6000, "tcp", hostB},
		{"web.demo.svc.cluster.local", "203.0.113.103", 8080, "http", hostA}, {"tls.example.org", "", 8080, "tcp", hostB},
		{"mysql.example.org", "", 3306, "tcp", hostA},
		{"red.mesh.pvt.aws.local", "", 7000, "tcp", hostA}, {"blue.mesh.pvt.aws.local", "", 7000, "tcp", hostB},
		{"color.mesh.pvt.aws.local", "", 8080, "http", hostB},
	}
	get := func(host string) []byte {
		return []byte("GET / HTTP/1.1\r\nhost: " + host + "\r\nconnection: close\r\n\r\n")
	}
	raw := []byte("\x00raw bytes")
	dials := []dial{
		{"TLS for host a", stranger + ":443", hello(t, "a.example.org"), "a", "a"},
		{"TLS for host b", stranger + ":443", hello(t, "b.example.org"), "b", "b"},
		{"TLS for another host", stranger + ":443", hello(t, "c.example.org"), "", "stranger"},
		{"TLS without a name", stranger + ":443", hello(t, ""), "", "stranger"},
		{"no TLS on 443", stranger + ":443", raw, "", "stranger"},
		{"the first Service", "203.0.113.101:6000", raw, "a", "a"},
		{"the second Service", "203.0.113.102:6000", raw, "b", "b"},
		{"the second Service, which speaks first", "203.0.113.102:6000", nil, "b speaks first", "b speaks first"},
		{"an unknown address", stranger + ":6000", raw, "", "stranger"},
		{"HTTP to the Service", "203.0.113.103:8080", get("web.demo.svc.cluster.local"), "a", "a"},
		{"HTTP by name", stranger + ":8080", get("web.demo.svc.cluster.local"), "a", "a"},
		{"HTTP to a stranger", stranger + ":8080", get("stranger"), "404 Not Found", "stranger"},
		{"TLS for a host on the HTTP port", stranger + ":8080", hello(t, "tls.example.org"), "b", "b"},
		{"TLS for a stranger on the HTTP port", stranger + ":8080", hello(t, "c.example.org"), "", "stranger"},
		{"the same of a client that offers HTTP", stranger + ":8080", hello(t, "c.example.org", "h2", "http/1.1"), "", "stranger"},
		{"other bytes to a stranger on the HTTP port", stranger + ":8080", raw, "Bad Request", "stranger"},
		{"a stranger on the HTTP port that speaks first", stranger + ":8080", nil, "nothing for 5 s: ", "stranger speaks first"},
		{"the first of two services with virtual addresses", "red.mesh.pvt.aws.local:7000", raw, "a", "a"},
		{"the second of them, which speaks first", "blue.mesh.pvt.aws.local:7000", nil, "b speaks first", "b speaks first"},
		{"an unknown virtual address", "240.0.0.1:7000", raw, "", ""},
		{"HTTP to a virtual address", "color.mesh.pvt.aws.local:8080", get("color.mesh.pvt.aws.local"), "b", "b"},
		{"a service that has its port for itself and speaks first", stranger + ":3306", nil, "a speaks first", "a speaks first"},
	}
	for _, version := range []string{"1.40.0", "1.37.0"} {
		for _, egress := range []string{"DROP_ALL", "ALLOW_ALL"} {
			t.Run(version+"/"+egress, func(t *testing.T) {
				l := newLab(t)
				for _, port := range []string{":443", ":6000", ":8080", ":3306", ":7000"} {
					l.host("a", hostA+port)
					l.host("b", hostB+port)
					l.host("stranger", stranger+port)
				}
				l.apply(config(t, map[string]string{"APPMESH_EGRESS_IGNORED_IP": "", "APPMESH_ENABLE_IPV6": "0"}))
				addresses := l.proxy(version, manifests(egress, list))
				for _, d := range dials {
					want := d.open
					if egress == "DROP_ALL" {
						want = d.closing
					}
					if host, port, _ := net.SplitHostPort(d.to); addresses[host] != "" {
						d.to = net.JoinHostPort(addresses[host], port)
					}
					got, took := l.talk(d)
					if got != want {
						t.Errorf("%s: %q, want %q", d.name, got, want)
					}
					// A service that has a port or an address for itself does not wait for the client.
					if d.say == nil && !strings.Contains(d.to, ":8080") && took > 800*time.Millisecond {
						t.Errorf("%s: %v until the server's word arrived, which it says after 400 ms", d.name, took)
					}
				}
			})
		}
	}
}

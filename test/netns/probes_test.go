package netns

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/redirect"
)

const (
	strictNode = `{metadata: {name: front, namespace: demo}, spec: {podSelector: {}, listeners: [
  {portMapping: {port: 8080, protocol: http}, tls: {mode: STRICT, certificate: {file: {certificateChain: /c, privateKey: /k}}}}]}}`
	probedPod = `{metadata: {name: front, annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}}, spec: {containers: [{name: app, image: app,
  livenessProbe: {httpGet: {path: /live, port: 8080}}}]}}`
	// strictListener is the inbound listener of such a node, with its certificate inline.
	strictListener = `
name: inbound
address: {socket_address: {address: "::", ipv4_compat: true, port_value: 15000}}
listener_filters:
- name: envoy.filters.listener.original_dst
  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}
filter_chains:
- filter_chain_match: {destination_port: 8080}
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: %q}, private_key: {inline_string: %q}}]}
  filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: in, cluster: aftermesh-http1-8080}}]
`
)

// A pod as it is injected: its own redirection, its proxy's own command line, asked from another host.
func TestKubeletAndPrometheusPassAStrictListener(t *testing.T) {
	for name, podIP := range map[string]string{"IPv4": podV4, "IPv6": podV6} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			pod := injected(t)
			l.apply(redirection(t, pod))
			l.application()
			l.startInjected(pod, podIP)
			live, scrape := pod.Spec.Containers[0].LivenessProbe.HTTPGet, pod.Annotations["prometheus.io/path"]
			l.until(func() bool { return l.get("http", podIP, "15020", live.Path) != "" })
			for _, c := range []struct{ scheme, port, path, want string }{
				{"http", "8080", "/live", ""},
				{"https", "8080", "/live", "200 /live " + net.JoinHostPort(podIP, "8080")},
				{"http", "15020", live.Path, "200 /live " + net.JoinHostPort(podIP, "8080")},
				{"http", "15020", scrape, "200 /metrics " + net.JoinHostPort(podIP, "8080")},
				{"http", "15020", "/live", "404 "},
				{"http", "15020", "/", "404 "},
			} {
				if got := l.get(c.scheme, podIP, c.port, c.path); got != c.want {
					t.Errorf("%s to %s%s: %q, want %q", c.scheme, c.port, c.path, got, c.want)
				}
			}
		})
	}
}

func injected(t *testing.T) *corev1.Pod {
	t.Helper()
	node, pod, mesh := &meshv1beta2.VirtualNode{}, &corev1.Pod{}, &meshv1beta2.Mesh{}
	for text, into := range map[string]any{strictNode: node, probedPod: pod, "{metadata: {name: m}}": mesh} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	c := inject.Defaults()
	c.IPFamilies, c.ControlPlane.CA = "46", "root"
	pod, report, err := inject.Inject(pod, inject.Target{Mesh: mesh, Node: node}, c)
	if err != nil {
		t.Fatalf("%v: %v", report, err)
	}
	return pod
}

func container(t *testing.T, pod *corev1.Pod, name string) corev1.Container {
	t.Helper()
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("the pod has no container %s", name)
	}
	return pod.Spec.InitContainers[i]
}

// redirection is what the pod's init container would program.
func redirection(t *testing.T, pod *corev1.Pod) redirect.Config {
	t.Helper()
	env := map[string]string{}
	for _, e := range container(t, pod, "proxyinit").Env {
		env[e.Name] = e.Value
	}
	c, err := redirect.FromEnv(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// application answers in the pod with the path and host that it was asked for.
func (l *lab) application() {
	l.t.Helper()
	var listener net.Listener
	if err := l.in(l.pod, owner{}, func() (err error) {
		listener, err = net.Listen("tcp", ":8080")
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path, " ", r.Host) })}
	go func() { _ = server.Serve(listener) }()
	l.t.Cleanup(func() { _ = server.Close() })
}

// startInjected runs the pod's proxy with its own command line. There is no control plane: what would come from it, the inbound
// listener, is put into the bootstrap instead.
func (l *lab) startInjected(pod *corev1.Pod, podIP string) {
	l.t.Helper()
	envoy := container(l.t, pod, "envoy")
	// Not the test's own folder: the proxy's user may not enter the one above it.
	run, err := os.MkdirTemp("", "aftermesh")
	if err == nil {
		err = os.Chmod(run, 0o777)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(run) })
	args := slices.Clone(envoy.Args)
	for i := range args {
		args[i] = strings.NewReplacer("$$", "$", "$(AFTERMESH_POD_IP)", podIP, "/var/run/aftermesh/", "/proc/self/cwd/", "/dev/stdout", "/dev/null").Replace(args[i])
	}
	args[1] = l.withoutControlPlane(args[1])
	var log bytes.Buffer
	cmd := exec.Command(envoyBinary(l.t), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = run, &log, &log
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
}

func (l *lab) withoutControlPlane(bootstrap string) string {
	l.t.Helper()
	authority, err := identity.NewAuthority("root", time.Now(), time.Hour)
	if err != nil {
		l.t.Fatal(err)
	}
	chain, key, err := authority.Leaf(identity.Names{DNS: []string{"front.demo"}}, time.Now(), time.Hour)
	if err != nil {
		l.t.Fatal(err)
	}
	var all, listener map[string]any
	if err := json.Unmarshal([]byte(bootstrap), &all); err != nil {
		l.t.Fatal(err)
	}
	if err := yaml.Unmarshal(fmt.Appendf(nil, strictListener, chain, key), &listener); err != nil {
		l.t.Fatal(err)
	}
	delete(all, "dynamic_resources")
	static := all["static_resources"].(map[string]any)
	static["listeners"] = append(static["listeners"].([]any), listener)
	static["clusters"] = slices.DeleteFunc(static["clusters"].([]any), func(c any) bool { return c.(map[string]any)["name"] == "aftermesh-xds" })
	text, err := json.Marshal(all)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// until waits for a condition, at most 10 s.
func (l *lab) until(condition func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal("gave up waiting")
		}
	}
}

// get asks from the other host; it returns status and body, or nothing when there is no answer.
func (l *lab) get(scheme, host, port, path string) string {
	l.t.Helper()
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = l.in(l.peer, owner{}, func() error {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	response, err := client.Get(scheme + "://" + net.JoinHostPort(host, port) + path)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %s", response.StatusCode, body)
}

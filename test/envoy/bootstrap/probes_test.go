package bootstrap

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3" // read below
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"     // read below
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// probedNode has a listener for each kind of application of the test, all STRICT.
const probedNode = `
metadata: {name: front, namespace: demo}
spec:
  podSelector: {}
  meshRef: {name: m}
  listeners:
  - {portMapping: {port: %[1]d, protocol: http}, tls: {mode: STRICT, certificate: {file: {certificateChain: /c, privateKey: /k}}}}
  - {portMapping: {port: %[2]d, protocol: tcp}, tls: {mode: STRICT, certificate: {file: {certificateChain: /c, privateKey: /k}}}}
  - {portMapping: {port: %[3]d, protocol: grpc}, tls: {mode: STRICT, certificate: {file: {certificateChain: /c, privateKey: /k}}}}
`

const probedPod = `
metadata:
  name: front-0
  namespace: demo
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "%[1]d", prometheus.io/path: /stats/all}
spec:
  containers:
  - name: app
    image: app
    livenessProbe: {httpGet: {path: "/live?deep=1", port: %[1]d}}
    readinessProbe: {httpGet: {path: /ready, port: %[1]d, httpHeaders: [{name: Host, value: shop.example}, {name: X-Probe, value: "1"}]}}
    startupProbe: {httpGet: {path: /moved, port: %[1]d}}
    lifecycle: {preStop: {httpGet: {path: /bye, port: %[1]d, scheme: HTTPS}}}
  - name: secure
    image: app
    livenessProbe: {httpGet: {path: /live, port: %[2]d, scheme: HTTPS}}
    readinessProbe: {grpc: {port: %[3]d, service: ready}}
    startupProbe: {grpc: {port: %[3]d, service: other, mode: TLS}}
  - name: second
    image: app
    livenessProbe: {httpGet: {path: /h2c, port: %[1]d, protocol: HTTP2}}
    readinessProbe: {grpc: {port: %[2]d, mode: TLS}}
`

// strictListener refuses what is not TLS, as the node's listener does behind the redirection.
const strictListener = `{"name": "strict", "address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}},
  "filter_chains": [{
    "transport_socket": {"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
      "common_tls_context": {"tls_certificates": [{"certificate_chain": {"inline_string": %q}, "private_key": {"inline_string": %q}}]}}},
    "filters": [{"name": "tcp", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
      "stat_prefix": "strict", "cluster": "aftermesh-http1-%d"}}]}]}`

// probed is an injected pod whose containers and proxy run on this machine.
type probed struct {
	pod *corev1.Pod
	// strict is the port of the listener.
	strict uint16
	app    *application
	proxy  *proxy
	// ports are where the ports of rewritten probes are on this machine.
	ports map[int]uint16
}

// application notes what it was asked.
type application struct {
	port, secure, grpc uint16
	health             *health.Server
	mu                 sync.Mutex
	asked              []string
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := fmt.Sprintf("%s%s %s host=%s probe=%s", map[bool]string{true: "HTTP/2 "}[r.ProtoMajor == 2], r.Method, r.RequestURI, r.Host, r.Header.Get("X-Probe"))
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Envoy") {
			line += " " + name
		}
	}
	a.asked = append(a.asked, line)
	if r.URL.Path == "/moved" {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}
}

// last is what was asked last; it is forgotten.
func (a *application) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := strings.Join(a.asked, "; ")
	a.asked = nil
	return all
}

func runApplication(t *testing.T) *application {
	t.Helper()
	pair, _ := certificate(t, "app.example")
	a := &application{health: health.NewServer()}
	listen := func() (net.Listener, uint16) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l, uint16(l.Addr().(*net.TCPAddr).Port)
	}
	var plain, secure, calls net.Listener
	plain, a.port = listen()
	secure, a.secure = listen()
	calls, a.grpc = listen()
	grpcServer := grpc.NewServer()
	healthv1.RegisterHealthServer(grpcServer, a.health)
	a.health.SetServingStatus("ready", healthv1.HealthCheckResponse_SERVING)
	a.health.SetServingStatus("other", healthv1.HealthCheckResponse_NOT_SERVING)
	go func() { _ = grpcServer.Serve(calls) }()
	t.Cleanup(grpcServer.Stop)
	server := &http.Server{
		Protocols: new(http.Protocols), TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
				grpcServer.ServeHTTP(w, r)
				return
			}
			a.ServeHTTP(w, r)
		}),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(plain) }()
	go func() { _ = server.ServeTLS(secure, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return a
}

// startProbed injects a pod and starts its proxy with the injected command line; only what is fixed in a pod and taken on this
// machine is moved: folders and the ports of rewritten probes.
func startProbed(t *testing.T, envoy string) *probed {
	t.Helper()
	p := &probed{app: runApplication(t), strict: freePort(t), pod: &corev1.Pod{}, ports: map[int]uint16{15020: freePort(t), 15021: freePort(t), 15022: freePort(t)}}
	server, folder := serve(t, serverName), newCredentialFolder(t)
	folder.token("x")
	pair, _ := certificate(t, "front.demo")
	chain, key := encodePair(t, pair)
	listener := &listenerv3.Listener{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, strictListener, p.strict, chain, key, p.app.port), listener); err != nil {
		t.Fatal(err)
	}
	server.listeners = []*listenerv3.Listener{listener}
	node := &meshv1beta2.VirtualNode{}
	read(t, fmt.Sprintf(probedNode, p.app.port, p.app.secure, p.app.grpc), node)
	read(t, fmt.Sprintf(probedPod, p.app.port, p.app.secure, p.app.grpc), p.pod)
	config := inject.Defaults()
	config.AdminPort = freePort(t)
	config.ControlPlane.Host, config.ControlPlane.Port, config.ControlPlane.CA = "127.0.0.1", server.port, server.ca
	mesh := &meshv1beta2.Mesh{}
	mesh.Name = "m"
	injected, report, err := inject.Inject(p.pod, inject.Target{Mesh: mesh, Node: node}, config)
	if err != nil {
		t.Fatalf("%v %v", err, report)
	}
	p.pod = injected
	i := slices.IndexFunc(injected.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "envoy" })
	run := t.TempDir()
	moved := strings.NewReplacer("/var/run/aftermesh-xds", folder.path, "/var/run/aftermesh", run, "/dev/stdout", "/dev/null",
		":15020", fmt.Sprintf(":%d", p.ports[15020]), ":15021", fmt.Sprintf(":%d", p.ports[15021]), ":15022", fmt.Sprintf(":%d", p.ports[15022]))
	args := injected.Spec.InitContainers[i].Args
	for i := range args {
		args[i] = moved.Replace(expand(args[i], map[string]string{"AFTERMESH_POD_IP": "127.0.0.1"}))
	}
	p.proxy = startWith(t, run+"/admin.sock", envoy, args...)
	eventually(t, 10*time.Second, "state", "LIVE", p.proxy.state)
	return p
}

func read(t *testing.T, manifest string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(manifest), into); err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
}

// kubelet asks as a probe does: a connection of its own, the probe's headers, its Host if it has one. It gives the status and
// what the application saw.
func (p *probed) kubelet(t *testing.T, method, host, path string, headers []corev1.HTTPHeader) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", p.ports[15020], path), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		request.Header.Add(h.Name, h.Value)
	}
	request.Host = host
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode, p.app.last()
}

func TestProbesAndScrapesPassAStrictListener(t *testing.T) {
	onEach(t, func(t *testing.T, envoy string) {
		p := startProbed(t, envoy)
		// The listener does what STRICT says.
		if _, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/live", p.strict)); err == nil {
			t.Fatal("the listener answers clear text")
		}
		trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		response, err := trusting.Get(fmt.Sprintf("https://127.0.0.1:%d/live", p.strict))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		p.app.last()
		app, secure, second := p.pod.Spec.Containers[0], p.pod.Spec.Containers[1], p.pod.Spec.Containers[2]
		original := fmt.Sprintf("127.0.0.1:%d", p.app.port)
		for _, c := range []struct {
			what, method, host, path string
			headers                  []corev1.HTTPHeader
			status                   int
			seen                     string
		}{
			{"a probe", "GET", "", app.LivenessProbe.HTTPGet.Path, nil, 200, "GET /live?deep=1 host=" + original + " probe="},
			{"a probe by HEAD", "HEAD", "", app.LivenessProbe.HTTPGet.Path, nil, 200, "HEAD /live?deep=1 host=" + original + " probe="},
			{"a probe with a host", "GET", "shop.example", app.ReadinessProbe.HTTPGet.Path, app.ReadinessProbe.HTTPGet.HTTPHeaders[1:], 200, "GET /ready host=shop.example probe=1"},
			{"a probe that is redirected", "GET", "", app.StartupProbe.HTTPGet.Path, nil, 302, "GET /moved host=" + original + " probe="},
			{"a probe of an application with TLS", "GET", "", secure.LivenessProbe.HTTPGet.Path, nil, 200, fmt.Sprintf("GET /live host=127.0.0.1:%d probe=", p.app.secure)},
			{"a hook with TLS, which the listener ends", "GET", "", app.Lifecycle.PreStop.HTTPGet.Path, nil, 200, "GET /bye host=" + original + " probe="},
			{"a probe in HTTP/2", "GET", "", second.LivenessProbe.HTTPGet.Path, nil, 200, "HTTP/2 GET /h2c host=" + original + " probe="},
			{"a scrape", "GET", "", p.pod.Annotations["prometheus.io/path"], nil, 200, "GET /stats/all host=" + original + " probe="},
			{"a scrape with a query", "GET", "", p.pod.Annotations["prometheus.io/path"] + "?name=x", nil, 200, "GET /stats/all?name=x host=" + original + " probe="},
			{"another path", "GET", "", "/", nil, 404, ""},
			{"the application's own path", "GET", "", "/live", nil, 404, ""},
			{"a longer path", "GET", "", app.LivenessProbe.HTTPGet.Path + "/x", nil, 404, ""},
			{"a path with dots", "GET", "", "/x/.." + app.LivenessProbe.HTTPGet.Path, nil, 404, ""},
			{"a probe with a query of one's own", "GET", "", app.LivenessProbe.HTTPGet.Path + "?x=1", nil, 404, ""},
			{"another method", "POST", "", app.LivenessProbe.HTTPGet.Path, nil, 404, ""},
			{"another method for statistics", "HEAD", "", p.pod.Annotations["prometheus.io/path"], nil, 404, ""},
			{"another host", "GET", "evil.example", app.LivenessProbe.HTTPGet.Path, nil, 404, ""},
			{"the pod's address where the probe has a host", "GET", "", app.ReadinessProbe.HTTPGet.Path, nil, 404, ""},
		} {
			status, seen := p.kubelet(t, c.method, c.host, c.path, c.headers)
			if status != c.status || seen != c.seen {
				t.Errorf("%s: %d, the application saw %q, want %d, %q", c.what, status, seen, c.status, c.seen)
			}
		}
		p.calls(t)
	})
}

// calls makes the gRPC probes of the pod, and a call that is none.
func (p *probed) calls(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	secure, second := p.pod.Spec.Containers[1], p.pod.Spec.Containers[2]
	for _, c := range []struct {
		probe *corev1.Probe
		port  int32
		want  healthv1.HealthCheckResponse_ServingStatus
	}{
		{secure.ReadinessProbe, 15021, healthv1.HealthCheckResponse_SERVING},
		{secure.StartupProbe, 15021, healthv1.HealthCheckResponse_NOT_SERVING},
		{second.ReadinessProbe, 15022, healthv1.HealthCheckResponse_SERVING},
	} {
		if c.probe.GRPC.Port != c.port || c.probe.GRPC.Mode != nil {
			t.Errorf("probe %v, want port %d in clear text", c.probe.GRPC, c.port)
		}
		service := ptr.Deref(c.probe.GRPC.Service, "")
		if got, err := p.health(t, c.port).Check(ctx, &healthv1.HealthCheckRequest{Service: service}); err != nil || got.GetStatus() != c.want {
			t.Errorf("service %q at %d: %v, %v, want %v", service, c.port, got, err, c.want)
		}
	}
	client := p.health(t, 15021)
	if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("a service that the application does not know: %v", err)
	}
	if _, err := client.List(ctx, &healthv1.HealthListRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("another call: %v, want unimplemented", err)
	}
}

func (p *probed) health(t *testing.T, port int32) healthv1.HealthClient {
	t.Helper()
	connection, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", p.ports[int(port)]), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return healthv1.NewHealthClient(connection)
}

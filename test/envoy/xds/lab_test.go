package xds

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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// patience bounds every wait for something that must come.
const patience = 10 * time.Second

// versions are the Envoys that are tried: the newest must be there, the oldest may be missing.
var versions = []struct{ version, variable string }{{"1.40.0", "ENVOY"}, {"1.37.0", "ENVOY_OLDEST"}}

// onEachEnvoy runs a test with every Envoy that is installed.
func onEachEnvoy(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	onEachEnvoyWith(t, xds.Options{}, test)
}

// onEachEnvoyWith does so with settings of the server.
func onEachEnvoyWith(t *testing.T, o xds.Options, test func(t *testing.T, w *world)) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real Envoys")
	}
	for _, v := range versions {
		t.Run(v.version, func(t *testing.T) {
			binary := os.Getenv(v.variable)
			if binary == "" {
				binary = filepath.Join(root(t), ".cache", "envoy", v.version, "envoy")
			}
			if _, err := os.Stat(binary); err != nil {
				if v.variable == "ENVOY" {
					t.Fatalf("Envoy %s is not installed; name it in the variable %s", v.version, v.variable)
				}
				t.Skipf("Envoy %s is not installed; name it in the variable %s", v.version, v.variable)
			}
			test(t, newWorld(t, binary, o))
		})
	}
}

// root is the folder with go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// everybody lets every proxy in under one name.
type everybody struct{}

func (everybody) Authenticate(context.Context, *corev3.Node) (xds.Proxy, error) {
	return xds.Proxy{ID: "proxy"}, nil
}

// world is one Envoy, our server, and what is served.
type world struct {
	t       *testing.T
	options xds.Options
	cache   *xds.Cache
	server  *grpc.Server
	address string
	// port is the egress listener of Envoy.
	port int
	seq  uint64
	set  *xds.Set
	// sent counts resources and removals sent, removed the latter, responses the messages.
	sent, removed, responses atomic.Int64
	log                      lockedBuffer
}

func newWorld(t *testing.T, binary string, o xds.Options) *world {
	t.Helper()
	w := &world{t: t, options: o, port: freePort(t)}
	w.address = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w.serve()
	t.Cleanup(func() { w.server.Stop() })
	w.startEnvoy(binary)
	return w
}

// serve starts a server that knows nothing of an earlier one.
func (w *world) serve() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cache = xds.NewCache()
	w.server = grpc.NewServer(append(xds.GRPCOptions(), grpc.StreamInterceptor(
		func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			return next(srv, &counting{ServerStream: s, w: w})
		}))...)
	xds.NewServer(w.cache, everybody{}, w.options).Register(w.server)
	go func() { _ = w.server.Serve(l) }()
}

// counting counts what is sent.
type counting struct {
	grpc.ServerStream
	w *world
}

func (c *counting) SendMsg(m any) error {
	if r, ok := m.(*discoveryv3.DeltaDiscoveryResponse); ok {
		c.w.responses.Add(1)
		c.w.removed.Add(int64(len(r.GetRemovedResources())))
		c.w.sent.Add(int64(len(r.GetResources()) + len(r.GetRemovedResources())))
	}
	return c.ServerStream.SendMsg(m)
}

const bootstrap = `
node: {id: mesh/m/virtualNode/lab, cluster: lab}
admin: {address: {pipe: {path: %s}}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: control-plane, retry_policy: {retry_back_off: {base_interval: 0.2s, max_interval: 2s}}}}]
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
static_resources:
  clusters:
  - name: control-plane
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: control-plane, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]}
`

func (w *world) startEnvoy(binary string) {
	w.t.Helper()
	host, port, _ := net.SplitHostPort(w.address)
	// A socket's path is limited to 108 bytes, which a test's own folder may exceed.
	dir, err := os.MkdirTemp("", "xds")
	if err != nil {
		w.t.Fatal(err)
	}
	config := fmt.Sprintf(bootstrap, filepath.Join(dir, "admin"), host, port)
	cmd := exec.Command(binary, "--config-yaml", config, "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning",
		"--drain-strategy", "immediate", "--drain-time-s", "600")
	cmd.Stdout, cmd.Stderr = &w.log, &w.log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
		if w.t.Failed() {
			w.t.Logf("log of Envoy:\n%s", w.log.String())
		}
	})
}

// publish serves a model and returns at once.
func (w *world) publish(m model) *xds.Set {
	w.t.Helper()
	w.set = xds.NewSet(m.resources(w.t, w.port)...)
	w.republish()
	return w.set
}

func (w *world) republish() {
	w.seq++
	w.cache.Publish(&xds.Snapshot{Seq: w.seq, Sets: map[string]*xds.Set{"group": w.set}, GroupOf: func(string) (string, bool) { return "group", true }})
}

// apply serves a model and returns how long it took Envoy to acknowledge all of it.
func (w *world) apply(m model) time.Duration {
	w.t.Helper()
	begin := time.Now()
	set := w.publish(m)
	w.until("the set is not acknowledged", func(r xds.StreamState) bool { return r.AckedSet == set.Version })
	return time.Since(begin)
}

// until waits for a state of the only stream.
func (w *world) until(what string, ok func(xds.StreamState) bool) {
	w.t.Helper()
	timeout := time.After(patience)
	for {
		rows := w.cache.Streams()
		if len(rows) == 1 && ok(rows[0]) {
			return
		}
		select {
		case <-w.cache.Changed():
		case <-timeout:
			w.t.Fatalf("%s; the table: %+v", what, rows)
		}
	}
}

// start applies the first model and waits until Envoy listens.
func (w *world) start(m model) {
	w.t.Helper()
	w.apply(m)
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.port))
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("Envoy does not listen: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// get asks for a host once, over a connection of its own.
func (w *world) get(host, ip string) (int, string) {
	w.t.Helper()
	c := client()
	defer c.CloseIdleConnections()
	status, body, err := ask(c, fmt.Sprintf("http://%s:%d/", ip, w.port), host)
	if err != nil {
		w.t.Fatalf("ask %s: %v", host, err)
	}
	return status, body
}

func client() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}}
}

func ask(c *http.Client, url, host string) (int, string, error) {
	req, err := http.NewRequest(http.MethodPost, url, nil) // Go never repeats a POST by itself
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// load asks for one host at a steady rate over keep-alive connections, and counts.
type load struct {
	w      *world
	stop   context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	total  int
	by     map[string]int
	failed []string
	begin  time.Time
}

// load starts 8 connections that ask 50 times a second each.
func (w *world) load(host string) *load {
	w.t.Helper()
	const connections, pause = 8, 20 * time.Millisecond
	ctx, stop := context.WithCancel(w.t.Context())
	l := &load{w: w, stop: stop, by: map[string]int{}, begin: time.Now()}
	for i := range connections {
		l.wg.Go(func() {
			c := client()
			defer c.CloseIdleConnections()
			time.Sleep(time.Duration(i) * pause / connections)
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				l.note(ask(c, fmt.Sprintf("http://127.0.0.1:%d/", w.port), host))
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	l.after(20)
	return l
}

func (l *load) note(status int, body string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	switch {
	case err != nil:
		l.failed = append(l.failed, err.Error())
	case status != http.StatusOK:
		l.failed = append(l.failed, fmt.Sprintf("%d %s", status, strings.TrimSpace(body)))
	default:
		l.by[body]++
	}
}

// count returns how often a backend answered so far.
func (l *load) count(backend string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[backend]
}

// after waits for that many more requests.
func (l *load) after(n int) {
	l.w.t.Helper()
	seen := func() int { l.mu.Lock(); defer l.mu.Unlock(); return l.total }
	for begin, deadline := seen(), time.Now().Add(patience); seen() < begin+n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.w.t.Fatal("the load stalls")
		}
	}
}

// none ends the load and fails the test if any request failed.
func (l *load) none() {
	l.w.t.Helper()
	l.stop()
	l.wg.Wait()
	rate := float64(l.total) / time.Since(l.begin).Seconds()
	l.w.t.Logf("%d of %d requests failed, %.0f a second, %v", len(l.failed), l.total, rate, l.by)
	if len(l.failed) > 0 {
		l.w.t.Errorf("%d of %d requests failed, the first: %s", len(l.failed), l.total, l.failed[0])
	}
	if rate < 250 {
		l.w.t.Errorf("only %.0f requests a second: the machine is too busy for this test to mean anything", rate)
	}
}

// backend serves HTTP/1 and clear-text HTTP/2 and answers with its name; it returns its port.
func backend(t *testing.T, name string) uint32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &p, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return uint32(l.Addr().(*net.TCPAddr).Port)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// lockedBuffer takes the output of a process.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

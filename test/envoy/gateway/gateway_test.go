package gateway

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
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster"
)

// binary is the environment variable with the program under test, set in the namespace.
const binary = "AFTERMESH_BINARY"

func TestMain(m *testing.M) {
	if os.Getenv(binary) != "" {
		os.Exit(m.Run())
	}
	if err := inNamespace(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func inNamespace() error {
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "aftermesh")
	if out, err := exec.Command("go", "build", "-o", path, "../../..").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	cmd := exec.Command("unshare", append([]string{"--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`}, os.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), binary+"="+path), os.Stdout, os.Stderr
	return cmd.Run()
}

// reply is what an application saw of a request.
type reply struct {
	status int
	// body is "<application> <path with query> <host> <helper headers>".
	body string
}

// application answers on loopback with what it saw.
func application(t *testing.T, port int, name string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(time.Second)
		}
		fmt.Fprintf(w, "%s %s %s %s%s", name, r.URL.RequestURI(), r.Host,
			r.Header.Get("X-App-Mesh-Virtual-Service"), r.Header.Get("X-App-Mesh-Virtual-Service-Port"))
	})}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(l) }() // ends with the listener
	t.Cleanup(func() { _ = s.Close() })
}

// lab is a gateway of one version of Envoy with its control plane.
type lab struct {
	t     *testing.T
	admin *http.Client
}

// startWith serves the manifests of a folder, in which the given words are replaced first.
func startWith(t *testing.T, version, manifests string, words ...string) *lab {
	t.Helper()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	xds, admin, config := filepath.Join(dir, "xds.sock"), filepath.Join(dir, "admin.sock"), filepath.Join(dir, "envoy.yaml")
	fill := func(from, to string) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(strings.NewReplacer(append(words, "ADMIN", admin, "XDS", xds)...).Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	filled := t.TempDir()
	fill(filepath.Join(manifests, "mesh.yaml"), filepath.Join(filled, "mesh.yaml"))
	fill("testdata/bootstrap", config)
	run(t, os.Getenv(binary), "standalone", filled, "--listen", "unix://"+xds)
	run(t, layout.Envoy(version), "-c", config, "--disable-hot-restart", "--log-level", "warning")
	l := &lab{t: t, admin: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", admin)
	}}}}
	return l
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	var mu sync.Mutex
	var said bytes.Buffer
	out := writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return said.Write(p)
	})
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), said.String())
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

// get makes one request of the gateway's port; headers are pairs.
func (l *lab) get(port, method, host, path string, headers ...string) reply {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, "http://127.0.0.1:"+port+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}
	}
	return reply{resp.StatusCode, string(b)}
}

// stat returns the line of one statistic.
func (l *lab) stat(name string) string {
	l.t.Helper()
	resp, err := l.admin.Get("http://admin/stats?filter=^" + name + "$")
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestRequestsFindTheirService(t *testing.T) {
	for port, name := range map[int]string{9001: "red", 9002: "green", 9003: "multi-a", 9004: "multi-b", 9005: "greeter"} {
		application(t, port, name)
	}
	for _, version := range []string{"1.40.0", "1.37.0"} {
		t.Run(version, func(t *testing.T) {
			l := startWith(t, version, "testdata/routing")
			l.eventually("the gateway answers", func() bool { return l.get("8088", "GET", "a.b", "/paths/green").status == http.StatusOK })
			l.answers()
			l.grpc()
			l.pool()
			if s := l.stat("listener_manager.lds.update_rejected") + l.stat("cluster_manager.cds.update_rejected"); strings.Count(s, ": 0") != 2 {
				t.Error("configuration was refused: ", s)
			}
		})
	}
}

func (l *lab) answers() {
	l.t.Helper()
	const green, paths = "color-green.demo", "color-paths.demo"
	for _, c := range []struct {
		what, port, method, host, path string
		headers                        []string
		want                           reply
	}{
		{"an exact path is kept", "8088", "GET", "a.b", "/paths/green", nil, reply{200, "green /paths/green " + green + " "}},
		{"a prefix becomes a slash and the host the service's name", "8088", "GET", "a.b", "/paths/red", nil, reply{200, "red /red " + paths + " "}},
		{"the service has no route for the path", "8088", "GET", "a.b", "/paths/blue", nil, reply{404, ""}},
		{"a prefix alone becomes a slash", "8088", "GET", "a.b", "/paths", nil, reply{404, ""}},
		{"a prefix is a string, not a segment", "8088", "GET", "a.b", "/pathsred/1?x=1", nil, reply{200, "red /red/1?x=1 " + paths + " "}},
		{"a prefix of the user's own, the host as it came, with a port", "8088", "GET", "shop.example.com:8088", "/hot/a", nil, reply{200, "red /red/a shop.example.com:8088 "}},
		{"another host does not have the route", "8088", "GET", "a.b", "/hot/a", nil, reply{404, ""}},
		{"a host has the routes of all hosts too", "8088", "GET", "shop.example.com", "/paths/red/1", nil, reply{200, "red /red/1 " + paths + " "}},
		{"a forged header chooses nothing", "8088", "GET", "a.b", "/paths/red", []string{"x-app-mesh-virtual-service", green}, reply{200, "red /red " + paths + " "}},
		{"nor does a forged port", "8088", "GET", "a.b", "/paths/red", []string{"x-app-mesh-virtual-service-port", "1"}, reply{200, "red /red " + paths + " "}},
		{"a kept host that is the name of another service stays with the route's service", "8088", "GET", green, "/keep/red", nil, reply{200, "red /red " + green + " "}},
		{"and gets a 404 where that has no route", "8088", "GET", green, "/keep/blue", nil, reply{404, ""}},
		{"a header", "8088", "GET", "a.b", "/h/x", []string{"color_header", "yellow"}, reply{200, "green /x " + green + " "}},
		{"the header is missing", "8088", "GET", "a.b", "/h/x", nil, reply{404, ""}},
		{"a method", "8088", "POST", "a.b", "/m/x", nil, reply{200, "green /x " + green + " "}},
		{"another method", "8088", "GET", "a.b", "/m/x", nil, reply{404, ""}},
		{"a query parameter", "8088", "GET", "a.b", "/q/x?color_type=white", nil, reply{200, "green /x?color_type=white " + green + " "}},
		{"another value", "8088", "GET", "a.b", "/q/x?color_type=black", nil, reply{404, ""}},
		{"the end of a host", "8088", "GET", "x.Example.NET", "/any?y=1", nil, reply{200, "green /any?y=1 " + green + " "}},
		{"a host that is the end itself", "8088", "GET", "example.net", "/any", nil, reply{200, "green /any " + green + " "}},
		{"a whole path by regex, replaced, the query kept", "8088", "GET", "a.b", "/item/12?x=1", nil, reply{200, "green /item?x=1 " + green + " "}},
		{"the regex takes the whole path", "8088", "GET", "a.b", "/item/12/x", nil, reply{404, ""}},
		{"a path given although a prefix matched replaces all of it", "8088", "GET", "a.b", "/full/1/2?x=1", nil, reply{200, `green /new%5C1?x=1 ` + green + " "}},
		{"no prefix rewrite", "8088", "GET", "a.b", "/as-is/1", nil, reply{200, "green /as-is/1 " + green + " "}},
		{"each port of the gateway has its own routes", "8090", "GET", "a.b", "/x", nil, reply{200, "multi-b /x multi.demo "}},
		{"and leads to the port that the target says", "8088", "GET", "a.b", "/multi/x", nil, reply{200, "multi-a /x multi.demo "}},
		{"a service without provider", "8088", "GET", "a.b", "/empty/x", nil, reply{404, ""}},
	} {
		if got := l.get(c.port, c.method, c.host, c.path, c.headers...); got != c.want {
			l.t.Errorf("%s: %s %s%s: got %d %q, want %d %q", c.what, c.method, c.host, c.path, got.status, got.body, c.want.status, c.want.body)
		}
	}
	if _, err := net.DialTimeout("tcp", "127.0.0.2:15001", time.Second); err == nil {
		l.t.Error("the second hop can be reached beside the gateway routes")
	}
}

// grpc makes calls over HTTP/2: one that a route takes, one that none does.
func (l *lab) grpc() {
	l.t.Helper()
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{Protocols: p}}
	call := func(path, device string) *http.Response {
		req, err := http.NewRequestWithContext(l.t.Context(), "POST", "http://127.0.0.1:8091"+path, nil)
		if err != nil {
			l.t.Fatal(err)
		}
		req.Header.Set("content-type", "application/grpc")
		req.Header.Set("device", device)
		resp, err := c.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			l.t.Fatal(err)
		}
		resp.Header.Set("body", string(b))
		return resp
	}
	if r := call("/Hello/Say", "iphone"); r.Header.Get("body") != "greeter /Hello/Say greeter.demo " {
		l.t.Errorf("the call got %d %q", r.StatusCode, r.Header.Get("body"))
	}
	for _, miss := range [][2]string{{"/Hello/Say", "android"}, {"/Other/Say", "iphone"}} {
		if r := call(miss[0], miss[1]); r.Header.Get("grpc-status") != "12" {
			l.t.Errorf("%s of %s got %d, grpc-status %q, want 12 (unimplemented)", miss[0], miss[1], r.StatusCode, r.Header.Get("grpc-status"))
		}
	}
}

// pool has 30 clients at once where 5 connections and 5 waiting requests are allowed.
func (l *lab) pool() {
	l.t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for range 30 {
		wg.Go(func() {
			r := l.get("8092", "GET", "a.b", "/slow")
			mu.Lock()
			defer mu.Unlock()
			got[r.status]++
		})
	}
	wg.Wait()
	if got[200] < 5 || got[200] > 15 || got[200]+got[503] != 30 {
		l.t.Errorf("answers by status: %v; want about ten 200 and the rest 503", got)
	}
	if s := l.stat("cluster.cds_ingress_demo_gw_demo_self_redirect_8092_http_15001.upstream_rq_pending_overflow"); strings.HasSuffix(s, ": 0") || s == "" {
		l.t.Errorf("no overflow was counted: %q", s)
	}
}

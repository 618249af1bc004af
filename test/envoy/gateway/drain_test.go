package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/test/cluster"
)

// thePod lets every proxy in as the one pod there is.
type thePod struct{}

func (thePod) Authenticate(context.Context, *corev3.Node) (xds.Proxy, error) {
	return xds.Proxy{ID: "pod"}, nil
}

// plane serves the manifests of testdata/drain to the proxy of one pod, on a socket.
type plane struct {
	objects  input.Objects
	pipeline *pipeline.Pipeline
}

func servePod(t *testing.T, socket string) *plane {
	t.Helper()
	files, err := source.ReadFiles([]string{"testdata/drain"}, "demo", nil)
	if err != nil || len(files.Faults) > 0 {
		t.Fatal(err, files.Faults)
	}
	cache := xds.NewCache()
	p := &plane{objects: files.Objects, pipeline: pipeline.New(cache, time.Now)}
	p.objects.Settings.Offline, p.objects.Settings.Loopback = false, true
	p.objects.Namespaces = []input.Namespace{{Name: "demo"}}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(xds.GRPCOptions()...)
	xds.NewServer(cache, thePod{}, xds.Options{}).Register(server)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	p.terminating(false)
	return p
}

// terminating gives the pod a deletion timestamp, or takes it away.
func (p *plane) terminating(yes bool) {
	o := p.objects
	o.Pods = []*input.Pod{{
		UID: "pod", Namespace: "demo", Name: "gw-1", Labels: map[string]string{"app": "gw"}, IPs: []string{"127.0.0.1"},
		Ready: true, Running: true, Terminating: yes,
		Node: "mesh/demo/virtualGateway/gw_demo", Profile: meshv1beta2.Profile{IPFamilies: "4"},
	}}
	p.pipeline.Step(&o)
}

// caller makes one request after the other and counts what became of its connections.
type caller struct {
	client                   http.Client
	url                      string
	dials, answers, goodbyes atomic.Int64
	failed                   atomic.Pointer[error]
}

func newCaller(url string, http2 bool) *caller {
	c := &caller{url: url}
	var p http.Protocols
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	c.client.Transport = &http.Transport{Protocols: &p, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	c.client.Timeout = 10 * time.Second
	return c
}

func (c *caller) once(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	c.answers.Add(1)
	if resp.Close {
		c.goodbyes.Add(1)
	}
	return nil
}

func (c *caller) call(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := c.once(context.WithoutCancel(ctx)); err != nil {
				c.failed.Store(&err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// A terminating pod's proxy must end old connections without losing a request, go on taking new ones, and let long requests finish.
func TestTerminatingPodDrains(t *testing.T) {
	application(t, 9001, "red")
	for _, version := range []string{"1.40.0", "1.37.0"} {
		t.Run(version, func(t *testing.T) {
			l, p := startPod(t, version)
			old, modern := newCaller("http://127.0.0.1:8088/", false), newCaller("http://127.0.0.1:8089/", true)
			l.eventually("both listeners answer", func() bool { return old.once(t.Context()) == nil && modern.once(t.Context()) == nil })
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer stop()
			old.call(ctx, &wg)
			modern.call(ctx, &wg)
			l.eventually("connections are kept", func() bool { return old.answers.Load() > 200 && modern.answers.Load() > 200 })
			if d := modern.dials.Load(); d > 3 || old.goodbyes.Load() > 0 {
				t.Fatalf("before the end: %d connections of HTTP/2, %d of HTTP/1.1 closed", d, old.goodbyes.Load())
			}
			long := newCaller("http://127.0.0.1:8088/slow", false)
			var slow error
			wg.Go(func() { slow = long.once(context.WithoutCancel(ctx)) })
			time.Sleep(100 * time.Millisecond)

			p.terminating(true)
			told := time.Now()
			dials := modern.dials.Load()
			l.eventually("HTTP/1.1 is told to close", func() bool { return old.goodbyes.Load() > 20 })
			took := time.Since(told)
			l.eventually("HTTP/2 connections end", func() bool { return modern.dials.Load() > dials+5 })
			if took > 2*time.Second {
				t.Errorf("the first 20 connections were closed after %s", took)
			}
			time.Sleep(time.Second)
			stop()
			wg.Wait()
			for name, c := range map[string]*caller{"HTTP/1.1": old, "HTTP/2": modern} {
				if err := c.failed.Load(); err != nil {
					t.Errorf("%s: %v after %d answers", name, *err, c.answers.Load())
				}
			}
			if slow != nil {
				t.Error("a request that was under way: ", slow)
			}
			t.Logf("%d and %d requests, %d and %d connections, closing after %s", old.answers.Load(), modern.answers.Load(), old.dials.Load(), modern.dials.Load(), took)
		})
	}
}

// startPod runs an Envoy for the one pod.
func startPod(t *testing.T, version string) (*lab, *plane) {
	t.Helper()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket, admin, config := filepath.Join(dir, "xds.sock"), filepath.Join(dir, "admin.sock"), filepath.Join(dir, "envoy.yaml")
	text, err := os.ReadFile("testdata/bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("SDSSOCKET", filepath.Join(dir, "sds.sock"), "ADMIN", admin, "XDS", socket).Replace(string(text))
	if err := os.WriteFile(config, []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	p := servePod(t, socket)
	run(t, layout.Envoy(version), "-c", config, "--disable-hot-restart", "--log-level", "warning", "--drain-strategy", "immediate", "--drain-time-s", "600")
	return &lab{t: t}, p
}

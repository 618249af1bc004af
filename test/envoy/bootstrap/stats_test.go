package bootstrap

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// requestSeries are the counters of requests, by all names that dashboards and canary controllers sum.
var requestSeries = regexp.MustCompile(`^envoy_cluster_(external_|internal_)?upstream_rq(_xx|_time_count|_[0-9]+)?(\{[^}]*\})? ([0-9.]+)$`)

// TestOnlyRequestsOfUsersAreCounted probes and scrapes a proxy, takes its control plane away, and reads its counters of requests.
func TestOnlyRequestsOfUsersAreCounted(t *testing.T) {
	for _, version := range []string{newest, oldest} {
		t.Run(version, func(t *testing.T) {
			server, folder := serve(t, serverName), newCredentialFolder(t)
			folder.token("x")
			application, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = http.Serve(application, http.NotFoundHandler()) }() // ends with the listener
			t.Cleanup(func() { _ = application.Close() })
			s := settings(t, server, folder)
			s.Tags = []bootstrap.Tag{{Name: "appmesh.mesh", Value: "demo"}}
			s.Forwards = []bootstrap.Forward{{
				Listen: freePort(t), Methods: []string{"GET"}, Path: "/live", Host: "probe", Target: "/live",
				Port: uint16(application.Addr().(*net.TCPAddr).Port),
			}}
			p := start(t, binary(t, version), s)
			eventually(t, 10*time.Second, "state", "LIVE", p.state)
			for range 10 {
				get(t, "", fmt.Sprintf("http://127.0.0.1:%d/ready", s.Admin.Port), http.StatusOK)
				get(t, "", fmt.Sprintf("http://127.0.0.1:%d/stats/prometheus", s.Admin.Port), http.StatusOK)
				get(t, "probe", fmt.Sprintf("http://127.0.0.1:%d/live", s.Forwards[0].Listen), http.StatusNotFound)
			}
			server.stop()
			eventually(t, 20*time.Second, "the control plane is missed", "true", func() string {
				return strconv.FormatBool(p.counter("cluster.aftermesh-xds.upstream_cx_connect_fail") > 3)
			})
			all := get(t, "", fmt.Sprintf("http://127.0.0.1:%d/stats/prometheus", s.Admin.Port), http.StatusOK)
			if !strings.Contains(all, `appmesh_mesh="demo"`) {
				t.Error("the fixed tag is missing")
			}
			for line := range strings.SplitSeq(all, "\n") {
				if m := requestSeries.FindStringSubmatch(line); m != nil && m[4] != "0" {
					t.Errorf("counted although no user sent a request: %s", line)
				}
			}
		})
	}
}

// counter returns the value of a statistic, 0 where there is none.
func (p *proxy) counter(name string) int {
	p.t.Helper()
	resp, err := p.admin.Get("http://admin/stats?filter=^" + name + "$")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(b)), ": ")
	n, _ := strconv.Atoi(value)
	return n
}

// get asks for a URL, by another host if one is given, and returns the body.
func get(t *testing.T, host, url string, want int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s: got %d, want %d", url, resp.StatusCode, want)
	}
	return string(b)
}

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// listening starts an instance with one port of a protocol and a control port, and returns both addresses.
func listening(t *testing.T, c Config, protocol string) (app, control string) {
	t.Helper()
	e := newEcho(c)
	app, control = freeAddress(t), freeAddress(t)
	_, port, _ := strings.Cut(app, ":")
	var l Listen
	if _, err := fmt.Sscan(port, &l.Port); err != nil {
		t.Fatal(err)
	}
	l.Protocol = protocol
	go func() { _ = e.listen(l) }() // ends with the test program
	go func() { _ = serveHTTP(control, e.control()) }()
	for _, a := range []string{app, control} {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			conn, err := net.Dial("tcp", a)
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	return app, control
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ask gives an order to a control port.
func ask[Out any](t *testing.T, control, path string, in any) Out {
	t.Helper()
	var out Out
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+control+path, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAChainTellsWhoAnsweredAndWhatWasSeen(t *testing.T) {
	t.Parallel()
	blue, _ := listening(t, Config{Identity: "blue"}, "http")
	for protocol, seen := range map[string]string{"http": "HTTP/1.1", "h2c": "HTTP/2.0"} {
		front, control := listening(t, Config{Identity: "front", Forwards: []Forward{
			{When: "GET /color/<rest>", To: "http://" + blue + "/<rest>", Protocol: protocol},
		}}, "http")
		got := ask[order.HTTPResult](t, control, "/request", order.HTTP{URL: "http://" + front + "/color/x?y=1", Count: 20, Concurrency: 4, Protocol: protocol})
		if len(got.Groups) != 1 {
			t.Fatalf("%s: %+v, expected one kind of answer", protocol, got)
		}
		g := got.Groups[0]
		want := order.Group{Count: 20, Status: 200, Chain: "front,blue", Seen: seen + " " + blue + " /x?y=1", Body: "blue"}
		if d := cmp.Diff(want, order.Group{Count: g.Count, Status: g.Status, Chain: g.Chain, Seen: g.Seen, Body: g.Body, Error: g.Error}); d != "" {
			t.Errorf("%s:\n%s", protocol, d)
		}
		if g.Pod == "" {
			t.Errorf("%s: the answer does not tell the pod", protocol)
		}
		own := ask[order.HTTPResult](t, control, "/request", order.HTTP{URL: "http://" + front + "/other"})
		if len(own.Groups) != 1 || own.Groups[0].Chain != "front" {
			t.Errorf("%s: a request that no forward matches got %+v", protocol, own)
		}
	}
}

func TestAForcedStatusIsAnsweredAndCounted(t *testing.T) {
	t.Parallel()
	app, control := listening(t, Config{Identity: "a"}, "http")
	ask[order.Seen](t, control, "/make", order.Make{Status: 503})
	got := ask[order.HTTPResult](t, control, "/request", order.HTTP{URL: "http://" + app, Count: 3})
	if len(got.Groups) != 1 || got.Groups[0].Status != 503 {
		t.Errorf("got %+v, expected 503 only", got)
	}
	if seen := ask[order.Seen](t, control, "/seen", struct{}{}); seen.Requests != 3 || seen.Paths["/"] != 3 {
		t.Errorf("seen %+v, expected 3 requests of /", seen)
	}
}

func TestRulesDelayAndFailButNotHealthChecks(t *testing.T) {
	t.Parallel()
	app, control := listening(t, Config{Identity: "a", Rules: []Rule{
		{When: "/fault", Fault: "begin"}, {When: "/recover", Fault: "end"}, {When: "/get", Fault: "obey"}, {When: "/slow", DelaySeconds: 0.2},
	}}, "http")
	get := func(path string, headers map[string]string) order.Group {
		return ask[order.HTTPResult](t, control, "/request", order.HTTP{URL: "http://" + app + path, Headers: headers}).Groups[0]
	}
	for i, c := range []struct {
		path   string
		status int
	}{{"/get", 200}, {"/fault", 200}, {"/get", 500}, {"/recover", 200}, {"/get", 200}} {
		if g := get(c.path, nil); g.Status != c.status {
			t.Errorf("request %d, %s: status %d, expected %d", i, c.path, g.Status, c.status)
		}
	}
	if g := get("/slow", nil); g.Seconds < 0.2 {
		t.Errorf("the slow answer took %v s", g.Seconds)
	}
	if g := get("/slow", map[string]string{"User-Agent": healthChecker}); g.Seconds >= 0.2 {
		t.Errorf("the health check took %v s", g.Seconds)
	}
}

func TestGRPCAnswersWithStatusAndMetadata(t *testing.T) {
	t.Parallel()
	app, control := listening(t, Config{Identity: "no_color"}, "grpc")
	call := func(service, method, body string) order.GRPCResult {
		return ask[order.GRPCResult](t, control, "/grpc", order.GRPC{Target: app, Service: service, Method: method, Body: body})
	}
	if got := call("any.Service", "Get", ""); got.Code != 0 || got.Chain != "no_color" || got.Metadata["x-echo-chain"] != "no_color" || got.Answer != "no_color" {
		t.Errorf("got %+v", got)
	}
	if got := call("any.Service", "SetColor", "red"); got.Answer != "no_color" {
		t.Errorf("set: got %+v, expected what was before", got)
	}
	if got := call("any.Service", "Get", ""); got.Answer != "red" {
		t.Errorf("get after set: got %+v", got)
	}
	if got := call("grpc.health.v1.Health", "Check", ""); got.Code != 0 || got.Answer != string(serving) {
		t.Errorf("health: got %+v", got)
	}
	if seen := ask[order.Seen](t, control, "/seen", struct{}{}); seen.Paths["/grpc.health.v1.Health/Check"] != 1 || seen.Paths["/any.Service/Get"] != 2 {
		t.Errorf("seen %+v", seen)
	}
	ask[order.Seen](t, control, "/make", order.Make{Status: 14})
	if got := call("any.Service", "Get", ""); got.Code != 14 {
		t.Errorf("forced: got %+v, expected status 14", got)
	}
}

func TestTCPAnswersALineWithTheIdentity(t *testing.T) {
	t.Parallel()
	app, control := listening(t, Config{Identity: "a"}, "tcp")
	if got := ask[order.TCPResult](t, control, "/tcp", order.TCP{Target: app}); !got.Connected || got.Answer != "a" {
		t.Errorf("got %+v", got)
	}
	conn, err := net.Dial("tcp", app)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		fmt.Fprintln(conn, "x")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "a\n" {
			t.Errorf("line %q, %v", line, err)
		}
	}
}

func TestALoadSendsWhatWasOrderedAndCounts(t *testing.T) {
	t.Parallel()
	for name, lanes := range map[string]int{"without lanes": 0, "with three lanes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, control := listening(t, Config{Identity: "a"}, "http")
			ask[order.LoadState](t, control, "/load/start", order.Load{HTTP: order.HTTP{URL: "http://" + app, Concurrency: lanes}, Rate: 100, Seconds: 0.5})
			if again := ask[order.LoadState](t, control, "/load/start", order.Load{}); again.Error == "" {
				t.Error("a second load was started beside the first")
			}
			var s order.LoadState
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				if s = ask[order.LoadState](t, control, "/load", struct{}{}); !s.Running {
					break
				}
			}
			if s.Running || s.Total.Requests != 50 || s.Total.Statuses["200"] != 50 || s.Total.Identities["a"] != 50 || len(s.Total.Pods) != 1 {
				t.Errorf("got %+v, expected 50 answers", s)
			}
			if d := cmp.Diff([]order.Second{{Requests: 50}}, s.PerSecond); d != "" {
				t.Errorf("per second:\n%s", d)
			}
		})
	}
}

func TestALoadWithoutEndIsMarkedAndStopped(t *testing.T) {
	t.Parallel()
	app, control := listening(t, Config{Identity: "a"}, "http")
	ask[order.LoadState](t, control, "/load/start", order.Load{HTTP: order.HTTP{URL: "http://" + app, Concurrency: 2}, Rate: 200})
	time.Sleep(300 * time.Millisecond)
	before := ask[order.LoadState](t, control, "/load/mark", struct{}{})
	ask[order.Seen](t, control, "/make", order.Make{Status: 500})
	time.Sleep(300 * time.Millisecond)
	after := ask[order.LoadState](t, control, "/load/stop", struct{}{})
	if !before.Running || after.Running {
		t.Errorf("running: %v before the stop, %v after it", before.Running, after.Running)
	}
	if before.Total.Statuses["200"] == 0 || before.Total.Statuses["500"] != 0 || after.Marked.Statuses["500"] == 0 {
		t.Errorf("before the mark %+v, after it %+v", before.Total, after.Marked)
	}
	if sum := before.Marked.Requests + after.Marked.Requests; sum != after.Total.Requests {
		t.Errorf("%d requests before and after the mark, %d in all", sum, after.Total.Requests)
	}
	time.Sleep(100 * time.Millisecond)
	if end := ask[order.LoadState](t, control, "/load", struct{}{}); end.Total.Requests != after.Total.Requests {
		t.Errorf("%d requests after the stop, %d at it", end.Total.Requests, after.Total.Requests)
	}
}

func TestAnswersNameThePortAndDrawStatuses(t *testing.T) {
	t.Parallel()
	app, _ := listening(t, Config{Identity: "broker-<port>", Rules: []Rule{{When: "/flaky", Statuses: []int{200, 503}}}}, "http")
	_, port, _ := strings.Cut(app, ":")
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + app + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get(chainHeader)
	}
	if status, chain := get("/"); status != 200 || chain != "broker-"+port {
		t.Errorf("status %d by %q", status, chain)
	}
	seen := map[int]int{}
	for range 200 { // with equal odds, 200 answers alike come once in 2^199 runs
		status, _ := get("/flaky")
		seen[status]++
	}
	if len(seen) != 2 || seen[200]+seen[503] != 200 {
		t.Errorf("statuses %v, expected both 200 and 503", seen)
	}
}

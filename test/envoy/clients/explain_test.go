package clients

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/explain"
)

// routed is a caller with routes of every kind, in a mesh that lets unknown hosts pass, and a gateway. The nodes red, green and blue are
// applications without proxies; gone does not exist.
const routed = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {}, egressFilter: {type: ALLOW_ALL}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front}
spec:
  backends: [{virtualService: {virtualServiceRef: {name: color}}}, {virtualService: {virtualServiceRef: {name: blue}}}, {virtualService: {virtualServiceRef: {name: raw}}}]
  serviceDiscovery: {dns: {hostname: 127.0.1.1}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: red}
spec: {listeners: [{portMapping: {port: 9001, protocol: http}}], serviceDiscovery: {dns: {hostname: 127.0.0.1}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: green}
spec: {listeners: [{portMapping: {port: 9002, protocol: http}}], serviceDiscovery: {dns: {hostname: 127.0.0.1}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: blue}
spec: {listeners: [{portMapping: {port: 9003, protocol: http2}}], serviceDiscovery: {dns: {hostname: 127.0.0.1}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: color}
spec: {awsName: color.demo, provider: {virtualRouter: {virtualRouterRef: {name: color}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: blue}
spec: {awsName: blue.demo, provider: {virtualRouter: {virtualRouterRef: {name: blue}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: raw}
spec: {awsName: raw.demo, provider: {virtualRouter: {virtualRouterRef: {name: raw}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: blue}
spec:
  listeners: [{portMapping: {port: 9080, protocol: http2}}]
  routes:
  - {name: get, http2Route: {match: {prefix: /, method: GET}, action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 1}]}}}
  - {name: rest, http2Route: {match: {prefix: /a}, action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 1}]}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: raw}
spec:
  listeners: [{portMapping: {port: 9090, protocol: tcp}}]
  routes: [{name: r, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {name: gone}, weight: 1}]}}}]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: color}
spec:
  listeners: [{portMapping: {port: 9080, protocol: http}}]
  routes:
  - {name: tls, priority: 1, httpRoute: {match: {prefix: /, scheme: https}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}}
  - {name: head, priority: 2, httpRoute: {match: {prefix: /a, headers: [{name: h-one, match: {exact: one}}]}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}}
  - {name: not, priority: 3, httpRoute: {match: {prefix: /b, headers: [{name: h-two, invert: true, match: {regex: "t.*"}}]}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}}
  - {name: many, priority: 4, httpRoute: {match: {prefix: /b, headers: [{name: h-two, match: {suffix: ",two"}}]}, action: {weightedTargets: [{virtualNodeRef: {name: red}, weight: 1}]}}}
  - {name: exact, priority: 5, httpRoute: {match: {path: {exact: /a/b}}, action: {weightedTargets: [{virtualNodeRef: {name: red}, weight: 1}]}}}
  - {name: query, priority: 6, httpRoute: {match: {prefix: /a, queryParameters: [{name: q, match: {exact: "1"}}]}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}}
  - {name: regex, priority: 7, httpRoute: {match: {path: {regex: "/[a-c]+/(b|%2[Ff])/?.*"}}, action: {weightedTargets: [{virtualNodeRef: {name: red}, weight: 1}]}}}
  - {name: gone, priority: 8, httpRoute: {match: {prefix: /gone}, action: {weightedTargets: [{virtualNodeRef: {name: gone}, weight: 1}]}}}
  - {name: post, priority: 9, httpRoute: {match: {prefix: /, method: POST}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}}
  - {name: a, priority: 10, httpRoute: {match: {prefix: /a}, action: {weightedTargets: [{virtualNodeRef: {name: red}, weight: 1}]}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: gw}
spec: {namespaceSelector: {}, listeners: [{portMapping: {port: 8088, protocol: http}}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: host}
spec: {httpRoute: {match: {prefix: /, hostname: {exact: color.demo}}, action: {target: {virtualService: {virtualServiceRef: {name: color}}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: blue}
spec: {httpRoute: {match: {prefix: /, hostname: {suffix: .demo}}, action: {target: {virtualService: {virtualServiceRef: {name: blue}}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: rewritten}
spec: {httpRoute: {match: {prefix: /x/, hostname: {exact: unknown.example}}, action: {rewrite: {prefix: {value: /a/}}, target: {virtualService: {virtualServiceRef: {name: color}}}}}}
`

// sample is one random request and how it is sent.
type sample struct {
	gateway                    bool
	port                       int
	kind                       string // http, tcp or tls
	version, method, host, url string
	headers                    []string // lines
}

func (s sample) String() string {
	place := "sidecar"
	if s.gateway {
		place = "gateway"
	}
	return fmt.Sprintf("%s:%d %s HTTP/%s %s %q host %q %q", place, s.port, s.kind, s.version, s.method, s.url, s.host, s.headers)
}

type dice struct{ *rand.Rand }

func (d dice) of(list ...string) string { return list[d.IntN(len(list))] }
func (d dice) chance(percent int) bool  { return d.IntN(100) < percent }

func (d dice) path() string {
	if d.chance(4) {
		return d.of("*", "x", "/a#b", "/\x01", "/\xff", "/a b")
	}
	if d.chance(6) {
		return "/gone" + d.of("", "/a")
	}
	p := ""
	for range 1 + d.IntN(4) {
		p += d.of("/", "/", "/", "/", "//", "///", "/./", "/../", "\\") + d.of("a", "a", "b", "b", "c", "x", "%2e", "%2E%2e", "..", ".", "%61", "%2F", "%2f", "a%20b", "%zz", "%", "%7e", "A", "\"<>", "%00", "é", "a;b", "...", "%5c", "{|}^`", "'()*", "%C3%A9", "$&+,=@!:")
	}
	return p + d.of("", "", "/", "//", "/..", "/.", "/%2e%2e", "/%2e")
}

func (d dice) sample() sample {
	s := sample{
		gateway: d.chance(35), port: 9080, kind: "http", version: "1.1",
		method: d.of("GET", "GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "FOO", "CONNECT"),
		host: d.of("color.demo", "color.demo", "color.demo", "color.demo:9080", "blue.demo", "blue.demo", "unknown.example", "Color.Demo", "COLOR.demo.", "color.demo.:9080", "blue.demo.",
			"color.demo:8088", "color.demo:1", "color.demo:", "a@color.demo", "color demo", "[::1]", "[::1]:9080", "color.demo..", "color.demo:9080:9080", "x\"y", "", "127.0.9.1", "unknown.example:9080"),
		url: d.path(),
	}
	if strings.HasPrefix(s.url, "/") && d.chance(30) {
		s.url += "?" + d.of("q=1", "q=2", "q=1&q=2", "q=2&q=1", "p=1", "q", "q=", "q=%31", "x=a//b/../c", "q=1#f", "?q=1", "Q=1", "&q=1")
	}
	if s.method == "CONNECT" {
		s.url = d.of("color.demo:443", "blue.demo:9080", "unknown.example:443")
		s.host = s.url
	}
	for range d.IntN(4) {
		s.headers = append(s.headers, d.of("h-one: one", "h-one: two", "H-One: one", "h-two: three", "h-two: one", "h-two: two", "h-two: ", "x-forwarded-proto: https", "X-Forwarded-Proto: HTTPS",
			"x-forwarded-proto: gopher", "x-forwarded-proto: http", "x-forwarded-for: 6.6.6.6", "content-type: application/grpc", "te: trailers"))
	}
	if d.chance(15) {
		s.headers = append(s.headers, "Connection: "+d.of("Upgrade", "upgrade", "keep-alive, Upgrade"), "Upgrade: "+d.of("websocket", "WebSocket", "h2c", "TLS/1.2", "TLS/1.2, HTTP/1.1", "SPDY/3.1", "foo"))
	} else if d.chance(5) {
		s.headers = append(s.headers, "Upgrade: websocket")
	}
	if d.chance(8) {
		s.version = "1.0"
	}
	switch {
	case s.gateway:
		s.port = 8088
		if d.chance(5) {
			s.kind = "tls"
		}
	case d.chance(4):
		s.port = 9090
		s.kind = "tcp"
	case d.chance(4):
		s.kind = "tls"
	}
	return s
}

// outcome is what a caller sees: a status, and of a forwarded request who answered and what that saw.
type outcome struct {
	status int
	seen   string
}

// closed is the end of a connection without an answer.
var closed = outcome{}

func TestExplainSaysWhatEnvoyDoes(t *testing.T) {
	const seeds, requests = 4, 150
	for name, address := range map[string]string{
		"red": "127.0.0.1:9001", "green": "127.0.0.1:9002", "blue": "127.0.0.1:9003", "outside": services + ":9080",
	} {
		mirror(t, name, address)
	}
	kinds := map[string]int{}
	// Envoy 1.37 takes some requests for no HTTP that 1.40 refuses by 400.
	t.Run("1.40.0", func(t *testing.T) {
		l := start(t, "1.40.0", routed)
		different := 0
		for seed := range uint64(seeds) {
			d := dice{rand.New(rand.NewPCG(seed, seed))}
			for range requests {
				s := d.sample()
				want, story := l.expected(s)
				got := observe(t, s)
				kinds[fmt.Sprint(got.status, " ", strings.SplitN(got.seen, " ", 2)[0])]++
				if got != want {
					if different++; different <= 20 {
						t.Errorf("%s\nEnvoy: %d %q\nexplain: %d %q\n%s", s, got.status, got.seen, want.status, want.seen, story)
					}
				}
			}
		}
		t.Logf("%d of %d requests differ", different, seeds*requests)
	})
	t.Log(kinds)
	const variety = 10
	if len(kinds) < variety {
		t.Errorf("only %v came of the requests: they prove little", kinds)
	}
}

// expected asks pkg/explain.
func (l *lab) expected(s sample) (outcome, string) {
	l.t.Helper()
	from, scheme := "demo/front", map[string]string{"http": "http", "tcp": "tcp", "tls": "https"}[s.kind]
	if s.gateway {
		from = "demo/gw"
	}
	r := &explain.Request{
		Method: s.method, Scheme: scheme, Host: s.host, Path: s.url, Port: uint32(s.port), Version: s.version,
		Address: netip.MustParseAddr(services), Headers: map[string]string{},
	}
	for _, line := range s.headers {
		name, value, _ := strings.Cut(line, ":")
		r.Add(name, value)
	}
	a, err := explain.From(l.snapshot.Result.Model, l.snapshot.Sets, from, r)
	if err != nil {
		l.t.Fatalf("%s: %v", s, err)
	}
	var story strings.Builder
	a.Print(&story)
	last := a.Last()
	switch {
	case last.Status != 0:
		return outcome{status: answered(last)}, story.String()
	case last.Outcome == passedOn && s.kind != "http":
		return closed, story.String() // what is outside speaks HTTP only
	case last.Outcome == passedOn:
		return outcome{http.StatusOK, strings.TrimSpace("outside " + s.url + " " + s.host)}, story.String()
	case last.Host == "" && last.RouteConfiguration == "":
		return closed, story.String() // no request was read
	case !last.Shares[0].Defined:
		l.t.Fatalf("%s: a forwarded request has no cluster", s)
	}
	name := "outside"
	if rest, ok := strings.CutPrefix(last.Shares[0].Cluster, "cds_egress_demo_"); ok && !strings.HasPrefix(rest, "mesh-allow-all") {
		name, _, _ = strings.Cut(rest, "_")
	}
	return outcome{http.StatusOK, name + " " + last.Path + " " + last.Host}, story.String()
}

const passedOn = "the connection is passed on as it is"

// answered is the status of an answer of the proxy itself: to gRPC it stands in a header, and the status is 200.
func answered(h *explain.Hop) int {
	if h.GRPCStatus != 0 {
		return http.StatusOK
	}
	return int(h.Status)
}

// observe sends the request.
func observe(t *testing.T, s sample) outcome {
	t.Helper()
	address := net.JoinHostPort(services, strconv.Itoa(s.port))
	if s.gateway {
		address = fmt.Sprintf("127.0.0.1:%d", s.port)
	}
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	switch s.kind {
	case "tls":
		if err := tls.Client(c, &tls.Config{ServerName: "color.demo", InsecureSkipVerify: true}).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s: TLS succeeds", s)
		}
		return closed
	case "tcp":
		if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: read %d %v, want the connection closed", s, n, err)
		}
		return closed
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/%s\r\n", s.method, s.url, s.version)
	if s.host != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", s.host)
	}
	for _, h := range s.headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(c, b.String()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: s.method})
	if err != nil {
		return closed
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.StatusCode = http.StatusOK
	}
	return outcome{resp.StatusCode, resp.Header.Get("seen")}
}

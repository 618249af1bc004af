package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/aftermesh/aftermesh/pkg/explain"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// world is a random gateway: routes and requests draw from the same few words, so that most requests meet some route and many meet
// several.
type world struct {
	r        *rand.Rand
	segments []string
	hosts    []string
	colors   []string
	// crowded adds so many hosts, routes and services that no request means that one list serves all hosts, and one all services.
	crowded bool
}

// request is what a caller sends.
type request struct {
	method, host, path string
	headers            []string // pairs
}

const applicationPort = 9001 // of the first color

func newWorld(seed uint64) *world {
	return &world{
		r:        rand.New(rand.NewPCG(seed, seed)),
		segments: []string{"a", "ab", "b", "12"},
		hosts:    []string{"shop.example.com", "example.com", "a.example.com", "other.org"},
		colors:   []string{"red", "green", "blue"},
	}
}

func (w *world) pick(list ...string) string { return list[w.r.IntN(len(list))] }
func (w *world) chance(percent int) bool    { return w.r.IntN(100) < percent }

func (w *world) path() string {
	p := ""
	for range 1 + w.r.IntN(3) {
		p += "/" + w.pick(w.segments...)
	}
	return p + w.pick("", "", "/")
}

// match is the match of a route of either kind, without a host.
func (w *world) match(rewritable *string) string {
	var parts []string
	switch w.r.IntN(4) {
	case 0:
		*rewritable = "path"
		parts = append(parts, fmt.Sprintf("path: {exact: %q}", w.path()))
	case 1:
		*rewritable = "path"
		parts = append(parts, fmt.Sprintf("path: {regex: %q}", "/"+w.pick("[ab]+", "a|b", "[^/]+", ".*")+w.pick("", "/.*", "/[0-9]+")))
	default:
		*rewritable = "prefix"
		prefix := w.pick(w.path(), "/"+w.pick(w.segments...)+w.pick("", "/"))
		if w.chance(20) {
			prefix = "/"
		}
		parts = append(parts, fmt.Sprintf("prefix: %q", prefix))
	}
	if w.chance(20) {
		parts = append(parts, "method: "+w.pick("GET", "POST"))
	}
	if w.chance(25) {
		how := w.pick("exact: one", "prefix: t", "suffix: e", "regex: '[a-z]+'", "range: {start: 1, end: 5}")
		parts = append(parts, fmt.Sprintf("headers: [{name: %s, invert: %v, match: {%s}}]", w.pick("h-one", "h-two"), w.chance(40), how))
	}
	if w.chance(15) {
		parts = append(parts, fmt.Sprintf("queryParameters: [{name: q, match: {exact: %q}}]", w.pick("1", "2")))
	}
	return strings.Join(parts, ", ")
}

// rewrite is the rewrite of a gateway route, or nothing.
func (w *world) rewrite(what string) string {
	var parts []string
	switch {
	case w.chance(40):
	case what == "path":
		parts = append(parts, fmt.Sprintf("path: {exact: %q}", "/"+w.pick(w.segments...)))
	case w.chance(50):
		parts = append(parts, "prefix: {defaultPrefix: "+w.pick("ENABLED", "DISABLED")+"}")
	default:
		parts = append(parts, fmt.Sprintf("prefix: {value: %q}", "/"+w.pick(w.segments...)+"/"))
	}
	if w.chance(30) {
		parts = append(parts, "hostname: {defaultTargetHostname: "+w.pick("ENABLED", "DISABLED")+"}")
	}
	if len(parts) == 0 {
		return ""
	}
	return ", rewrite: {" + strings.Join(parts, ", ") + "}"
}

func (w *world) manifests() []byte {
	var b bytes.Buffer
	object := func(kind, name, spec string) {
		fmt.Fprintf(&b, "---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: %s\nmetadata: {name: %s, namespace: demo}\nspec: %s\n", kind, name, spec)
	}
	b.WriteString("apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: demo}\nspec: {namespaceSelector: {}}\n")
	object("VirtualGateway", "gw", "{namespaceSelector: {}, listeners: [{portMapping: {port: 8088, protocol: http}}]}")
	for i := range 16 {
		var what string
		match := w.match(&what)
		if w.chance(50) {
			how := fmt.Sprintf("exact: %s", w.pick(w.hosts...))
			if w.chance(50) {
				how = "suffix: " + w.pick("example.com", ".example.com", "com")
			}
			match += ", hostname: {" + how + "}"
		}
		priority := ""
		if w.chance(40) {
			priority = fmt.Sprintf("priority: %d, ", w.r.IntN(3))
		}
		object("GatewayRoute", fmt.Sprintf("g%d", i), fmt.Sprintf("{%shttpRoute: {match: {%s}, action: {target: {virtualService: {virtualServiceRef: {name: %s}}}%s}}}",
			priority, match, w.pick("one", "two"), w.rewrite(what)))
	}
	for _, service := range []string{"one", "two"} {
		object("VirtualService", service, "{awsName: "+service+".demo, provider: {virtualRouter: {virtualRouterRef: {name: "+service+"}}}}")
		var routes []string
		for i := range 10 {
			var what string
			priority := ""
			if w.chance(40) {
				priority = fmt.Sprintf("priority: %d, ", w.r.IntN(3))
			}
			routes = append(routes, fmt.Sprintf("  - {name: r%d, %shttpRoute: {match: {%s}, action: {weightedTargets: [{virtualNodeRef: {name: %s}, weight: 1}]}}}",
				i, priority, w.match(&what), w.pick(w.colors...)))
		}
		object("VirtualRouter", service, "\n  listeners: [{portMapping: {port: 8080, protocol: http}}]\n  routes:\n"+strings.Join(routes, "\n"))
	}
	for i := range 50 {
		if !w.crowded {
			break
		}
		name := fmt.Sprintf("crowd%d", i)
		to := "{target: {virtualService: {virtualServiceRef: {name: " + name + "}}}, rewrite: {hostname: {defaultTargetHostname: DISABLED}}}"
		object("GatewayRoute", name+"-host", fmt.Sprintf("{httpRoute: {match: {prefix: /, hostname: {exact: %s.example.net}}, action: %s}}", name, to))
		object("GatewayRoute", name+"-path", fmt.Sprintf("{httpRoute: {match: {prefix: /%s/}, action: %s}}", name, to))
		object("VirtualService", name, "{awsName: "+name+".demo, provider: {virtualNode: {virtualNodeRef: {name: red}}}}")
	}
	for i, color := range w.colors {
		object("VirtualNode", color, fmt.Sprintf("{listeners: [{portMapping: {port: %d, protocol: http}}], serviceDiscovery: {dns: {hostname: 127.0.0.1}}}", applicationPort+i))
	}
	return b.Bytes()
}

func (w *world) request() request {
	q := request{method: w.pick("GET", "GET", "POST"), host: w.pick(append(w.hosts, "one.demo", "Shop.Example.com:8088")...), path: w.path()}
	if w.chance(30) {
		q.path += "?q=" + w.pick("1", "2", "3")
	}
	for _, h := range []string{"h-one", "h-two"} {
		if w.chance(40) {
			q.headers = append(q.headers, h, w.pick("one", "three", "3", "5", "X"))
		}
	}
	return q
}

// expected says by pkg/explain what the caller gets, in the words of the applications.
func expected(t *testing.T, s *pipeline.Snapshot, q request) (reply, string) {
	t.Helper()
	headers := []string{"host: " + q.host}
	for i := 0; i+1 < len(q.headers); i += 2 {
		headers = append(headers, q.headers[i]+": "+q.headers[i+1])
	}
	in, err := explain.NewRequest(q.method, "http://127.0.0.1:8088"+q.path, headers)
	if err != nil {
		t.Fatal(err)
	}
	a, err := explain.From(s.Result.Model, s.Sets, "demo/gw", in)
	if err != nil {
		t.Fatal(err)
	}
	var story bytes.Buffer
	a.Print(&story)
	last := a.Last()
	if last.Status != 0 {
		return reply{status: int(last.Status)}, story.String()
	}
	name := strings.TrimPrefix(last.Shares[0].Cluster, "cds_egress_demo_")
	name, _, _ = strings.Cut(name, "_")
	return reply{http.StatusOK, name + " " + last.Path + " " + last.Host}, story.String()
}

// TestExplainSaysWhatEnvoyDoes sends random requests through random gateways, and asks pkg/explain the same.
func TestExplainSaysWhatEnvoyDoes(t *testing.T) {
	const worlds, requests = 6, 100
	for i, color := range newWorld(0).colors {
		application(t, applicationPort+i, color)
	}
	seen := map[string]int{}
	for seed := range uint64(worlds) {
		for _, version := range []string{"1.40.0", "1.37.0"} {
			t.Run(fmt.Sprintf("%s/%d", version, seed), func(t *testing.T) {
				w := newWorld(seed)
				w.crowded = seed == worlds-1
				manifests := w.manifests()
				compare(t, w, version, manifests, requests, seen)
			})
		}
	}
	t.Logf("%v", seen)
	if len(seen) < 1+len(newWorld(0).colors) {
		t.Errorf("only %v came of the requests: they prove little", seen)
	}
}

// hosts returns the virtual hosts of the gateway, sorted.
func hosts(t *testing.T, s *pipeline.Snapshot) []string {
	t.Helper()
	var out []string
	for _, r := range s.Sets["mesh/demo/virtualGateway/gw_demo"].Resources(xds.RouteType) {
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range m.(*routev3.RouteConfiguration).VirtualHosts {
			out = append(out, h.Name)
		}
	}
	slices.Sort(out)
	return out
}

// compare sends requests through one gateway and counts what came of them by status and application.
func compare(t *testing.T, w *world, version string, manifests []byte, requests int, seen map[string]int) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), manifests, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := source.ReadFiles([]string{dir}, "default", nil)
	if err != nil || len(files.Faults) > 0 {
		t.Fatalf("%v %v\n%s", err, files.Faults, manifests)
	}
	s := pipeline.New(nil, time.Now).Step(&files.Objects)
	if got := hosts(t, s); w.crowded && !slices.Equal(got, []string{"default_backend", "self_redirect"}) {
		t.Fatalf("the virtual hosts are %v: no list is shared", got)
	}
	l := startWith(t, version, dir)
	l.eventually("the gateway has its configuration", func() bool {
		return l.get("8088", "GET", "a.b", "/").status != 0 && strings.HasSuffix(l.stat("listener_manager.total_listeners_active"), ": 2")
	})
	for range requests {
		q := w.request()
		want, story := expected(t, s, q)
		got := l.get("8088", q.method, q.host, q.path, q.headers...)
		if got.status != http.StatusOK {
			got.body = ""
		}
		// The applications add helper headers, which explain says nothing of.
		if parts := strings.Fields(got.body); len(parts) > 3 {
			got.body = strings.Join(parts[:3], " ")
		}
		got.body = strings.TrimSpace(got.body)
		if got != want {
			t.Errorf("%+v: Envoy answers %d %q, explain says %d %q\n%s", q, got.status, got.body, want.status, want.body, story)
		}
		name, _, _ := strings.Cut(want.body, " ")
		seen[fmt.Sprint(want.status, " ", name)]++
	}
	if t.Failed() {
		t.Logf("%s", manifests)
	}
}

// TestOneListForAllHostsMeansTheSame asks about the same requests with and without the crowd.
func TestOneListForAllHostsMeansTheSame(t *testing.T) {
	const worlds, requests = 5, 150
	for seed := range uint64(worlds) {
		w, crowded := newWorld(seed), newWorld(seed)
		crowded.crowded = true
		var steps []*pipeline.Snapshot
		for _, manifests := range [][]byte{w.manifests(), crowded.manifests()} {
			files, err := source.ReadFiles([]string{"-"}, "default", bytes.NewReader(manifests))
			if err != nil || len(files.Faults) > 0 {
				t.Fatalf("%v %v", err, files.Faults)
			}
			steps = append(steps, pipeline.New(nil, time.Now).Step(&files.Objects))
		}
		if plain, shared := hosts(t, steps[0]), hosts(t, steps[1]); len(plain) < 4 || len(shared) != 2 {
			t.Fatalf("seed %d: the virtual hosts are %v and %v", seed, plain, shared)
		}
		for range requests {
			q := w.request()
			want, story := expected(t, steps[0], q)
			if got, other := expected(t, steps[1], q); got != want {
				t.Fatalf("seed %d: %+v gets %v with a list for each host and %v with one\n%s\n%s", seed, q, want, got, story, other)
			}
		}
	}
}

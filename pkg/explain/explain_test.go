package explain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aftermesh/aftermesh/pkg/explain"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
)

const manifests = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {matchLabels: {mesh: demo}}, egressFilter: {type: DROP_ALL}}
---
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {mesh: demo}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: demo}
spec:
  podSelector: {matchLabels: {app: front}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: front.demo.svc.cluster.local}}
  backends: [{virtualService: {virtualServiceRef: {name: color}}}]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: color, namespace: demo}
spec: {awsName: color.demo, provider: {virtualRouter: {virtualRouterRef: {name: color}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: color, namespace: demo}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  routes:
  - name: split
    httpRoute:
      match: {prefix: /split}
      action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 90}, {virtualNodeRef: {name: green}, weight: 10}]}
      timeout: {perRequest: {unit: s, value: 20}}
      retryPolicy: {httpRetryEvents: [gateway-error], maxRetries: 3, perRetryTimeout: {unit: s, value: 2}}
  - name: none
    httpRoute: {match: {prefix: /none}, action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 0}]}}
  - name: exact
    httpRoute: {match: {path: {exact: /exact}}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}
  - name: regex
    httpRoute: {match: {path: {regex: "/r/[0-9]+"}}, action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}}
  - name: range
    priority: 1
    httpRoute:
      match: {prefix: /range, headers: [{name: "n", match: {range: {start: 5, end: 9}}}]}
      action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}
  - name: inverted
    priority: 2
    httpRoute:
      match: {prefix: /inv, headers: [{name: v, invert: true, match: {suffix: x}}]}
      action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}
  - name: query
    priority: 3
    httpRoute:
      match: {prefix: /query, queryParameters: [{name: q, match: {exact: a}}]}
      action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}
  - name: post
    priority: 4
    httpRoute:
      match: {prefix: /post, method: POST}
      action: {weightedTargets: [{virtualNodeRef: {name: green}, weight: 1}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: blue, namespace: demo}
spec: {listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: blue.demo}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: green, namespace: demo}
spec: {listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: green.demo}}}
`

// TestAWrongPortThatPassesIsNamed: under ALLOW_ALL a connection to a port that the service does not have leaves the mesh.
func TestAWrongPortThatPassesIsNamed(t *testing.T) {
	t.Parallel()
	s := snapshotOf(t, strings.Replace(manifests, "DROP_ALL", "ALLOW_ALL", 1))
	for _, c := range []struct{ url, want string }{
		{"http://color.demo:81/", "the connection is passed on as it is, past the mesh: VirtualService demo/color has port 8080, not 81"},
		{"http://stranger:81/", "the connection is passed on as it is"},
	} {
		r, err := explain.NewRequest("GET", c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := explain.From(s.Result.Model, s.Sets, "demo/front", r)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Hops[0].Outcome; got != c.want {
			t.Errorf("%s: %s, want %s", c.url, got, c.want)
		}
	}
}

func snapshot(t *testing.T) *pipeline.Snapshot { return snapshotOf(t, manifests) }

func snapshotOf(t *testing.T, manifests string) *pipeline.Snapshot {
	t.Helper()
	files, err := source.ReadFiles([]string{"-"}, "default", strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	files.Objects.Settings.Offline = true
	files.Objects.Settings.EgressExempt = []string{"*.amazonaws.com"}
	return pipeline.New(nil, time.Now).Step(&files.Objects)
}

func TestRequestsMeetTheRoutesThatWereMeant(t *testing.T) {
	const base = "http://color.demo:8080"
	s := snapshot(t)
	for name, c := range map[string]struct {
		method, url string
		headers     []string
		route       string
		status      uint32
		outcome     string
	}{
		"a prefix matches what is below it":                     {url: base + "/split/x", route: "split"},
		"the query is no part of the path":                      {url: base + "/exact?x=1", route: "exact"},
		"an exact path matches nothing below it":                {url: base + "/exact/x", status: 404},
		"an expression matches the whole path":                  {url: base + "/r/12", route: "regex"},
		"an expression that matches a part only does not match": {url: base + "/r/12/x", status: 404},
		"only weights of zero answer 503":                       {url: base + "/none", route: "none", status: 503},
		"a range includes its start":                            {url: base + "/range", headers: []string{"n: 5"}, route: "range"},
		"a range excludes its end":                              {url: base + "/range", headers: []string{"n: 9"}, status: 404},
		"a value that is no number is in no range":              {url: base + "/range", headers: []string{"n: 6x"}, status: 404},
		"an inverted suffix matches another value":              {url: base + "/inv", headers: []string{"V: y"}, route: "inverted"},
		"an inverted suffix refuses the value":                  {url: base + "/inv", headers: []string{"v: yx"}, status: 404},
		"an inverted match of values needs the header":          {url: base + "/inv", status: 404},
		"a query parameter is compared":                         {url: base + "/query?b=1&q=a", route: "query"},
		"the first of several values counts":                    {url: base + "/query?q=b&q=a", status: 404},
		"a missing query parameter does not match":              {url: base + "/query", status: 404},
		"a method is compared":                                  {method: "POST", url: base + "/post", route: "post"},
		"another method does not match":                         {url: base + "/post", status: 404},
		"hosts are compared without regard to case":             {url: "http://COLOR.demo:8080/exact", route: "exact"},
		"a host without its port is known":                      {url: base + "/exact", headers: []string{"host: color.demo"}, route: "exact"},
		"an unknown host gets 404":                              {url: "http://other:8080/exact", status: 404},
		"an unknown port is closed by DROP_ALL":                 {url: "http://color.demo:81/exact", outcome: "closed by the egress filter DROP_ALL of mesh demo: no backend of VirtualNode demo/front is color.demo on port 81; VirtualService demo/color has port 8080; call that, or add a listener with port 81 to its provider"},
		"TLS to a name that is exempt passes DROP_ALL":          {url: "https://s3.amazonaws.com/", outcome: "the connection is passed on as it is"},
		"TLS to an exempt name on another port is closed":       {url: "tcp://db.rds.amazonaws.com:3306", outcome: "closed by the egress filter DROP_ALL of mesh demo: no backend of VirtualNode demo/front is db.rds.amazonaws.com on port 3306 (*.amazonaws.com passes by TLS on port 443 only); add a VirtualService with a VirtualNode for it to spec.backends"},
		"TLS to a name of another partition of AWS does not":    {url: "https://sts.cn-north-1.amazonaws.com.cn/", outcome: "closed by the egress filter DROP_ALL of mesh demo: no backend of VirtualNode demo/front is sts.cn-north-1.amazonaws.com.cn on port 443; add a VirtualService with a VirtualNode for it to spec.backends, or its name to the operator's flag --egress-exempt"},
		"TLS to any other name does not":                        {url: "https://example.com/", outcome: "closed by the egress filter DROP_ALL of mesh demo: no backend of VirtualNode demo/front is example.com on port 443; add a VirtualService with a VirtualNode for it to spec.backends, or its name to the operator's flag --egress-exempt"},
	} {
		t.Run(name, func(t *testing.T) {
			method := c.method
			if method == "" {
				method = "GET"
			}
			r, err := explain.NewRequest(method, c.url, c.headers)
			if err != nil {
				t.Fatal(err)
			}
			a, err := explain.From(s.Result.Model, s.Sets, "demo/front", r)
			if err != nil {
				t.Fatal(err)
			}
			h := a.Last()
			if h.Route != c.route || h.Status != c.status || c.outcome != "" && h.Outcome != c.outcome {
				t.Errorf("route %q, status %d, outcome %q; want %q, %d, %q; missed %v", h.Route, h.Status, h.Outcome, c.route, c.status, c.outcome, h.Missed)
			}
		})
	}
}

func TestASplitHasItsSharesRetriesAndCauses(t *testing.T) {
	s := snapshot(t)
	r, err := explain.NewRequest("GET", "http://color.demo:8080/split", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := explain.From(s.Result.Model, s.Sets, "demo/front", r)
	if err != nil {
		t.Fatal(err)
	}
	h := a.Last()
	got := []any{h.Cause, h.Timeout, h.Retry.Max, h.Retry.PerTryTimeout, h.Shares[0].Percent, h.Shares[0].Cause, h.Shares[1].Percent, h.Shares[1].Cause}
	want := []any{"VirtualRouter demo/color", "20s", uint32(3), "2s", 90.0, "VirtualNode demo/blue", 10.0, "VirtualNode demo/green"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

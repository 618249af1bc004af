package corpus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// TestEveryCaseIsRead reads the collection of cases that the variable CORPUS names.
func TestEveryCaseIsRead(t *testing.T) {
	dir := os.Getenv("CORPUS")
	if dir == "" {
		t.Skip("CORPUS does not name a folder of cases: their format is NOT checked")
	}
	found, err := filepath.Glob(filepath.Join(dir, "*", "expect.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	for _, f := range found {
		if _, err := Load(filepath.Dir(f)); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownKeysAndKindsAreErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a key of the case":   {"format: 1\ncase: x\nsurprise: 1\n", "surprise"},
		"a key of a step":     {"format: 1\ncase: x\nsteps: [{name: a, surprise: 1}]\n", "surprise"},
		"a key of a check":    {"format: 1\ncase: x\nsteps: [{name: a, checks: [{kind: gone, object: a, surprise: 1}]}]\n", "surprise"},
		"a kind of check":     {"format: 1\ncase: x\nsteps: [{name: a, checks: [{kind: miracle}]}]\n", "miracle"},
		"another case's name": {"format: 1\ncase: y\n", "expected format 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "x")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "expect.yaml"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected one about %q", err, c.want)
			}
		})
	}
}

func TestCountsAreRaisedUntilChanceIsOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		count     int
		shares    map[string]float64
		tolerance float64
		want      int
	}{
		{200, map[string]float64{"a": 0.5, "b": 0.5}, 0.1, 625},
		{200, map[string]float64{"a": 0.5, "b": 0.5}, 0.07, 1276},
		{100, map[string]float64{"a": 0.5, "b": 0.5}, 0.03, 6945},
		{500, map[string]float64{"a": 0.95, "b": 0.05}, 0.04, 743},
		{50, nil, 0.1, 50},
	} {
		if got := enough(c.count, c.shares, c.tolerance); got != c.want {
			t.Errorf("enough(%d, %v, %v) = %d, want %d", c.count, c.shares, c.tolerance, got, c.want)
		}
	}
}

func TestAnswersAreJudged(t *testing.T) {
	t.Parallel()
	blue := order.Group{Count: 50, Status: 200, Chain: "front,blue", Seen: "HTTP/2.0 color:8080 /x", Body: "blue", Headers: map[string]string{"Server": "envoy"}}
	green := order.Group{Count: 50, Status: 200, Chain: "front,green", Seen: "HTTP/2.0 color:8080 /x", Body: "green", Headers: map[string]string{"Server": "envoy"}}
	down := order.Group{Count: 1, Status: 503, Body: "no healthy upstream"}
	for _, c := range []struct {
		name, expect string
		groups       []order.Group
		fault        string
	}{
		{"status", "status: 200", []order.Group{blue}, ""},
		{"wrong status", "status: 200", []order.Group{blue, down}, "status 503"},
		{"one identity", "answeredBy: blue", []order.Group{blue}, ""},
		{"any of several", "answeredBy: [blue, green]", []order.Group{blue, green}, ""},
		{"another identity", "answeredBy: blue", []order.Group{blue, green}, `answered by "green"`},
		{"an even split", "distribution: {blue: 0.5, green: 0.5}", []order.Group{blue, green}, ""},
		{"a split that is off", "distribution: {blue: 0.8, green: 0.2}", []order.Group{blue, green}, "% of 100 requests"},
		{"somebody unexpected", "distribution: {blue: 1}", []order.Group{blue, green}, "not in the distribution"},
		{"an earlier hop", "{distribution: {front: 1}, hop: 0}", []order.Group{blue, green}, ""},
		{"a failure", "fails: true", []order.Group{down}, ""},
		{"a failure that did not happen", "fails: true", []order.Group{blue}, "expected a failure"},
		{"a header", "responseHeaders: {server: envoy, x-other: present}", []order.Group{blue}, "x-other"},
		{"what the application saw", "upstreamSees: {protocol: HTTP/2, path: /x, host: color:8080}", []order.Group{blue}, ""},
		{"the whole chain", "chain: [front, blue]", []order.Group{blue}, ""},
		{"a time within bounds", "durationSeconds: [1, 3]", []order.Group{{Count: 2, Status: 200, Seconds: 1.5, Slowest: 2.5}}, ""},
		{"a time too long for one of them", "durationSeconds: [1, 2]", []order.Group{{Count: 2, Status: 200, Seconds: 1.5, Slowest: 2.5}}, "2.5, expected 1 to 2"},
		{"a share of a status", "statusShare: {'503': [0.005, 0.02]}", []order.Group{blue, down}, ""},
		{"a share of a status that is off", "statusShare: {'503': [0.5, 1]}", []order.Group{blue, down}, "share of status 503"},
		{"part of the body", "bodyContains: gree", []order.Group{green}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var a answer
			if err := yamlv3.Unmarshal([]byte(c.expect), &a); err != nil {
				t.Fatal(err)
			}
			err := a.judge(order.HTTPResult{Groups: c.groups}, 100, defaultTolerance)
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("error %v, expected %q", err, c.fault)
			}
		})
	}
}

func TestPathsFindFields(t *testing.T) {
	t.Parallel()
	var v any
	if err := yamlv3.Unmarshal([]byte(`{a: [{n: {name: x-canary}, w: 1}, {n: {name: y}, w: 2}], "l.k": z}`), &v); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"a[*].w": 2, "a[0].w": 1, "a[?n.name~canary].w": 1, `["l.k"]`: 1, "b.c": 0, "a[7]": 0} {
		if got, err := lookup(v, path); err != nil || len(got) != want {
			t.Errorf("%s finds %v (%v), expected %d values", path, got, err, want)
		}
	}
}

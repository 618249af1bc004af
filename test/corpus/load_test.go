package corpus

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// faulty fails the test unless err contains fault, or is nil for an empty one.
func faulty(t *testing.T, err error, fault string) {
	t.Helper()
	if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
		t.Errorf("error %v, expected %q", err, fault)
	}
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := yamlv3.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func TestLoadsAreJudged(t *testing.T) {
	t.Parallel()
	counts := order.Counts{Requests: 200, Statuses: map[string]int{"200": 194, "500": 6}, Pods: map[string]int{"a": 96, "b": 104}}
	for _, c := range []struct {
		name, expect string
		got          order.Counts
		fault        string
	}{
		{"counts within bounds, both included", "statusCount: {'500': [5, 6], '200': [194, 195]}", counts, ""},
		{"a count below", "statusCount: {'500': [7, 9]}", counts, "status 500: 6, expected 7 to 9"},
		{"a count above", "statusCount: {'200': [200, 200]}", counts, "status 200"},
		{"a status that never came", "statusCount: {'503': [1, 2]}", counts, "status 503: 0"},
		{"a share", "statusShare: {'500': [0.01, 0.05]}", counts, ""},
		{"a share that is off", "statusShare: {'500': [0.1, 0.2]}", counts, "share of status 500"},
		{"a range the wrong way round", "statusCount: {'500': [7, 5]}", counts, "not a range"},
		{"pods alike", "perPodShare: {pods: 2, share: 0.5}", counts, ""},
		{"pods that differ too much", "perPodShare: {pods: 2, share: 0.5, tolerance: 0.01}", counts, "pod "},
		{"a pod that never answered", "perPodShare: {pods: 3, share: 0.33}", counts, "2 pods answered, expected 3"},
		{"no answer at all", "{}", order.Counts{Errors: map[string]int{}}, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var a loadAnswer
			parse(t, c.expect, &a)
			faulty(t, a.judge(c.got), c.fault)
		})
	}
}

func TestPeaksKeepTheHighestGaugeAndTheGrowthOfCounters(t *testing.T) {
	t.Parallel()
	const gauge, counter = "cluster.cds_egress_a.upstream_cx_active", "cluster.cds_egress_a.upstream_cx_overflow"
	before := peaks{"n/w": {gauge: 9, counter: 100}}
	p := peaks{}
	for _, s := range []float64{1, 5, 3} {
		p.add(before, peaks{"n/w": {gauge: s, counter: 100 + s}})
	}
	for stat, want := range map[string]float64{gauge: 5, counter: 5} {
		if got, n := p.highest("n/w", regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$")); got != want || n != 1 {
			t.Errorf("%s: %v of %d statistics, expected %v", stat, got, n, want)
		}
	}
	if _, n := p.highest("n/other", regexp.MustCompile(".")); n != 0 {
		t.Errorf("%d statistics of a workload that was not read", n)
	}
}

func TestTheWorkloadsOfAStepThatItsChecksAskAboutAreRead(t *testing.T) {
	t.Parallel()
	s := Step{Checks: []Check{{Kind: "stat", Workload: "n/b"}, {Kind: "log", Workload: "n/c"}, {Kind: "stat", Workload: "n/a"}}}
	got := strings.Join(watched(s, loadAnswer{MaxConnections: &connections{Workload: "n/a"}}), " ")
	if got != "n/a n/b" {
		t.Errorf("reads %s, expected n/a n/b", got)
	}
}

func TestNegativeChecksAreThoseThatMustHold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, expect string
		want         bool
	}{
		{"request", "status: 200", false},
		{"request", "status: 404", true},
		{"request", "fails: true", true},
		{"grpc", "grpcStatus: 0", false},
		{"grpc", "grpcStatus: 12", true},
		{"tcp", "connects: true", false},
		{"tcp", "connects: false", true},
		{"tcp", "answeredBy: nobody", true},
		{"request", "answeredBy: [a, b]", false},
		{"condition", "{type: Ready, status: not True}", true},
		{"condition", "{type: Ready, status: 'True'}", false},
		{"field", "absent: true", true},
		{"gone", "gone: true", true},
		{"backends", "[a, b]", false},
	} {
		check := Check{Kind: c.kind}
		parse(t, "expect:\n  "+c.expect, &check)
		if got := negative(check); got != c.want {
			t.Errorf("%s, %s: negative %v, expected %v", c.kind, c.expect, got, c.want)
		}
	}
}

func TestOnlyStepsWithoutChangesWaitForTheTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"settleSeconds: 15": false, "apply: [a.yaml]": true, "delete: [{kind: Service, name: a}]": true, "restart: [n/a]": true,
		"scale: [{name: a}]": true, "patch: [{name: a}]": true, "labelNamespace: {namespace: a}": true, "registerSvids: [{workload: a/b, spiffeId: spiffe://a/b}]": true,
	} {
		var s Step
		parse(t, text, &s)
		if got := s.changes(); got != want {
			t.Errorf("%s: changes %v, expected %v", text, got, want)
		}
	}
}

func TestRulesAreUnderstoodOrRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule  string
		want  []echoRule
		fault string
	}{
		{"{when: any path but a health check, answers: 'backend, after 45 seconds'}", []echoRule{{When: "", DelaySeconds: 45}}, ""},
		{"{when: GET /get, answers: 'purple, or 500 while the pod is faulty'}", []echoRule{{When: "GET /get", Fault: "obey"}}, ""},
		{"{when: GET /fault, answers: '200, and makes the one pod that got it faulty'}", []echoRule{{When: "GET /fault", Fault: "begin"}}, ""},
		{"{when: /, answers: '200 or 503, half and half at random'}", []echoRule{{When: "/", Statuses: []int{200, 503}}}, ""},
		{"{when: grpc.health.v1.Health/Check, answers: SERVING}", nil, ""},
		{"{when: /, answers: a song}", nil, "a song"},
	} {
		var w Workload
		parse(t, "rules: ["+c.rule+"]", &w)
		got, err := w.rules()
		faulty(t, err, c.fault)
		if err == nil && !cmp.Equal(got, c.want) {
			t.Errorf("%s becomes %+v, expected %+v", c.rule, got, c.want)
		}
	}
}

func TestMetricsAreFoundByLabelsAndValues(t *testing.T) {
	t.Parallel()
	const text = `rq{a="1",b="2"} 5` + "\n"
	for _, c := range []struct {
		labels []string
		values map[string]string
		want   bool
	}{
		{[]string{"a", "b"}, nil, true}, {[]string{"c"}, nil, false}, {nil, map[string]string{"b": "2"}, true}, {[]string{"a"}, map[string]string{"b": "1"}, false},
	} {
		if got := hasMetric(text, "rq", c.labels, c.values); got != c.want {
			t.Errorf("labels %v, values %v: %v", c.labels, c.values, got)
		}
	}
}

func TestALoadNamesItsCompanion(t *testing.T) {
	t.Parallel()
	r := &run{c: &Case{Steps: []Step{{Name: "one: two", Checks: []Check{{Kind: "gone"}}}}}}
	for _, together := range []string{"one: two:2", "one: two:0", "one: two", "other:1", ":1"} {
		if _, err := r.companion(t.Context(), Step{}, together); err == nil {
			t.Errorf("%q names no check and is accepted", together)
		}
	}
	if wait, err := r.companion(t.Context(), Step{}, ""); err != nil || wait(t.Context()) != nil {
		t.Errorf("a load without a companion: %v", err)
	}
}

func parseJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

package corpus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// loadRequest is what a check of kind load sends.
type loadRequest struct {
	URL, Method, Body string
	Rate              float64
	Concurrency       int
	DurationSeconds   float64 `yaml:"durationSeconds"`
	Together          string
}

// loadAnswer is what a check of kind load expects.
type loadAnswer struct {
	StatusCount map[string][]float64 `yaml:"statusCount"`
	StatusShare map[string][]float64 `yaml:"statusShare"`
	PerPodShare *struct {
		Pods      int
		Share     float64
		Tolerance *float64
	} `yaml:"perPodShare"`
	MaxConnections *connections `yaml:"maxConnectionsAtWorkload"`
	BreakerOpened  *bool        `yaml:"breakerOpened"`
}

// connections bounds the connections that a workload's proxy has at any moment, to other workloads (out) or to its own
// application (in).
type connections struct {
	Workload, Direction string
	Value               int
}

// observed are the statistics that are read while a load runs: connections of clusters, and what tells of an open breaker.
const observed = `cluster\.cds_.*(upstream_cx_active|_open|upstream_cx_overflow|upstream_rq_pending_overflow)`

// peaks are the highest values of each statistic during a load, by workload. A counter's value is how much it grew.
type peaks map[string]map[string]float64

func (t *run) checkLoad(ctx context.Context, s Step, c Check) error {
	var in loadRequest
	var want loadAnswer
	if err := errors.Join(decodeNode(&c.Request, &in), decodeNode(&c.Expect, &want)); err != nil {
		return err
	}
	other, err := t.companion(ctx, s, in.Together)
	if err != nil {
		return err
	}
	ip, to, err := t.route(ctx, c.From, in.URL)
	if err != nil {
		return err
	}
	in.URL = to
	state, err := t.load(ctx, ip, in, watched(s, want))
	if err := errors.Join(err, other(ctx)); err != nil {
		return err
	}
	if err := want.judge(state); err != nil {
		return err
	}
	return t.judgeConnections(ctx, want)
}

// companion starts the check that a load names as "step:number", to run at the same time, and returns what waits for its result. The
// check also runs in its own place; a companion that names this load back is not started again.
func (t *run) companion(ctx context.Context, s Step, together string) (func(context.Context) error, error) {
	if together == "" {
		return func(context.Context) error { return nil }, nil
	}
	at := strings.LastIndex(together, ":")
	number, err := strconv.Atoi(together[at+1:])
	step := slices.IndexFunc(t.c.Steps, func(o Step) bool { return at > 0 && o.Name == together[:at] })
	if err != nil || step < 0 || number < 1 || number > len(t.c.Steps[step].Checks) {
		return nil, notYet(fmt.Sprintf("request.together %q is not the name of a step and the number of a check, step:number", together))
	}
	o := t.c.Steps[step].Checks[number-1]
	if o.Kind == "load" {
		o.Request = withoutKey(o.Request, "together")
	}
	// The companion has its own peaks and its own load at the stand-in, so that neither disturbs the other.
	twin := *t
	twin.loadName, twin.peaks = "together", nil
	result := make(chan error, 1)
	go func() { result <- twin.check(ctx, s, o) }()
	return func(ctx context.Context) error {
		select {
		case err := <-result:
			if err != nil {
				return fmt.Errorf("%s at the same time: %w", together, err)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

// withoutKey returns a mapping without one of its keys.
func withoutKey(n yamlv3.Node, key string) yamlv3.Node {
	content := slices.Clone(n.Content)
	for i := 0; i+1 < len(content); i += 2 {
		if content[i].Value == key {
			n.Content = slices.Delete(content, i, i+2)
			break
		}
	}
	return n
}

// watched are the workloads whose statistics are read during a load: those that its check names, and those of checks of the step
// that ask what was seen.
func watched(s Step, want loadAnswer) []string {
	var out []string
	if want.MaxConnections != nil {
		out = append(out, want.MaxConnections.Workload)
	}
	for _, c := range s.Checks {
		if c.Kind == "stat" && !slices.Contains(out, c.Workload) {
			out = append(out, c.Workload)
		}
	}
	return out
}

// load sends a load from a stand-in, reads the statistics of the watched workloads meanwhile, and returns the counts.
func (t *run) load(ctx context.Context, ip string, in loadRequest, watch []string) (order.Counts, error) {
	name := order.LoadName{Name: t.loadName}
	o := order.Load{LoadName: name, Rate: in.Rate, Seconds: in.DurationSeconds}
	o.URL, o.Method, o.Body, o.Concurrency = in.URL, in.Method, in.Body, in.Concurrency
	if err := t.control(ctx, ip, "/load/stop", name, &order.LoadState{}); err != nil {
		return order.Counts{}, err
	}
	t.peaks = peaks{}
	before := t.sample(ctx, watch)
	var state order.LoadState
	if err := t.control(ctx, ip, "/load/start", o, &state); err != nil || state.Error != "" {
		return state.Total, errors.Join(err, textError(state.Error))
	}
	const spare = 60 * time.Second // for the last answers
	deadline := time.Now().Add(time.Duration(in.DurationSeconds*float64(time.Second)) + spare)
	for state.Running {
		if time.Now().After(deadline) || ctx.Err() != nil {
			err := t.control(context.WithoutCancel(ctx), ip, "/load/stop", name, &state)
			return state.Total, errors.Join(errors.New("the load did not end"), ctx.Err(), err)
		}
		t.peaks.add(before, t.sample(ctx, watch))
		const pause = 50 * time.Millisecond
		time.Sleep(pause)
		if err := t.control(ctx, ip, "/load", name, &state); err != nil {
			return state.Total, err
		}
	}
	t.peaks.add(before, t.sample(ctx, watch))
	return state.Total, nil
}

func textError(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}

// sample reads the observed statistics of workloads, of several pods the highest value. A proxy that does not answer this time
// is left out.
func (t *run) sample(ctx context.Context, workloads []string) peaks {
	re := regexp.MustCompile(observed)
	out := peaks{}
	for _, w := range workloads {
		out[w] = map[string]float64{}
		ns, name, _ := strings.Cut(w, "/")
		pods, err := t.kube.pods(ctx, ns, name)
		if err != nil {
			continue
		}
		for _, p := range pods {
			values, err := statistics(ctx, p.Status.PodIP, re)
			if err != nil {
				continue
			}
			for k, v := range values {
				out[w][k] = max(out[w][k], v)
			}
		}
	}
	return out
}

// add takes a sample into account.
func (p peaks) add(before, sample peaks) {
	for w, values := range sample {
		if p[w] == nil {
			p[w] = map[string]float64{}
		}
		for k, v := range values {
			if strings.HasSuffix(k, "overflow") {
				v -= before[w][k]
			}
			p[w][k] = max(p[w][k], v)
		}
	}
}

// highest returns the highest value of the statistics with matching names, and how many there are.
func (p peaks) highest(workload string, re *regexp.Regexp) (most float64, found int) {
	for k, v := range p[workload] {
		if re.MatchString(k) {
			most, found = max(most, v), found+1
		}
	}
	return most, found
}

// judge compares the counts of a load.
func (a loadAnswer) judge(got order.Counts) error {
	if got.Requests == 0 {
		return errors.New("the load brought no answer at all")
	}
	for status, bounds := range a.StatusCount {
		if err := within(bounds, float64(got.Statuses[status])); err != nil {
			return fmt.Errorf("status %s: %w (of %d requests: statuses %v, errors %v)", status, err, got.Requests, got.Statuses, got.Errors)
		}
	}
	for status, bounds := range a.StatusShare {
		if err := within(bounds, float64(got.Statuses[status])/float64(got.Requests)); err != nil {
			return fmt.Errorf("share of status %s: %w (of %d requests: statuses %v, errors %v)", status, err, got.Requests, got.Statuses, got.Errors)
		}
	}
	if a.PerPodShare == nil {
		return nil
	}
	want := *a.PerPodShare
	if len(got.Pods) != want.Pods {
		return fmt.Errorf("%d pods answered, expected %d: %v", len(got.Pods), want.Pods, got.Pods)
	}
	for pod, n := range got.Pods {
		if share := float64(n) / float64(got.Requests); math.Abs(share-want.Share) > value(want.Tolerance) {
			return fmt.Errorf("pod %s answered %.1f %% of %d requests, expected %.1f ± %.1f", pod, 100*share, got.Requests, 100*want.Share, 100*value(want.Tolerance))
		}
	}
	return nil
}

// within says whether a value lies between two bounds, both included.
func within(bounds []float64, v float64) error {
	if len(bounds) != 2 || bounds[0] > bounds[1] {
		return fmt.Errorf("%v is not a range", bounds)
	}
	if v < bounds[0] || v > bounds[1] {
		return fmt.Errorf("%v, expected %v to %v", v, bounds[0], bounds[1])
	}
	return nil
}

// judgeConnections compares what the proxies showed during the load.
func (t *run) judgeConnections(ctx context.Context, a loadAnswer) error {
	m := a.MaxConnections
	if m != nil {
		prefix := map[string]string{"out": "cds_egress_", "in": "cds_ingress_"}[m.Direction]
		if prefix == "" {
			return fmt.Errorf("unknown direction %q", m.Direction)
		}
		workers, err := t.workers(ctx, m.Workload)
		if err != nil {
			return err
		}
		most, found := t.peaks.highest(m.Workload, regexp.MustCompile(`^cluster\.`+prefix+`.*\.upstream_cx_active$`))
		// Each worker of a proxy looks before it connects, so all but one may be late.
		if limit := m.Value + workers - 1; found == 0 || most > float64(limit) {
			return fmt.Errorf("%s had up to %v connections in %d clusters %s…, expected at most %d (%d, and one more for each of %d workers but one)",
				m.Workload, most, found, prefix, limit, m.Value, workers)
		}
	}
	if a.BreakerOpened == nil {
		return nil
	}
	if m == nil {
		return notYet("breakerOpened without a workload")
	}
	most, _ := t.peaks.highest(m.Workload, regexp.MustCompile(`(_open|overflow)$`))
	if (most > 0) != *a.BreakerOpened {
		return fmt.Errorf("a breaker of %s opened: %v, expected %v", m.Workload, most > 0, *a.BreakerOpened)
	}
	return nil
}

// workers is how many threads the proxies of a workload have.
func (t *run) workers(ctx context.Context, workload string) (int, error) {
	ns, name, _ := strings.Cut(workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return 0, err
	}
	values, err := statistics(ctx, pods[0].Status.PodIP, regexp.MustCompile(`^server\.concurrency$`))
	if err != nil {
		return 0, err
	}
	return max(1, int(values["server.concurrency"])), nil
}

// admin reads from the port of a proxy that others may read.
func admin(ctx context.Context, ip, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(ip, "9901")+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of %s: %s", path, ip, resp.Status)
	}
	return b, err
}

// statistics returns the values of the statistics that a proxy has under matching names.
func statistics(ctx context.Context, ip string, re *regexp.Regexp) (map[string]float64, error) {
	b, err := admin(ctx, ip, "/stats?filter="+url.QueryEscape(re.String()))
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(string(b))); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ": ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && re.MatchString(name) {
			out[name] = v
		}
	}
	return out, nil
}

package corpus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// request is what a check of kind request sends.
type request struct {
	URL, Method, Body  string
	Headers            map[string]string
	Count, Concurrency int
	Trust              string
	Make               *struct {
		Workload string
		Status   int
	}
}

// answer is what a check of kind request expects.
type answer struct {
	Status           anyOf[int]
	AnsweredBy       anyOf[string] `yaml:"answeredBy"`
	Chain            []string
	Distribution     map[string]float64
	Hop              *int
	Tolerance        *float64
	StatusShare      map[string][]float64 `yaml:"statusShare"`
	Body             *string
	BodyContains     string            `yaml:"bodyContains"`
	BodyStartsWith   string            `yaml:"bodyStartsWith"`
	ResponseHeaders  map[string]string `yaml:"responseHeaders"`
	UpstreamSees     map[string]string `yaml:"upstreamSees"`
	UpstreamAttempts *int              `yaml:"upstreamAttempts"`
	DurationSeconds  []float64         `yaml:"durationSeconds"`
	Fails            bool
}

// anyOf is one value or a list of values, any of which is right; an absent one takes every value.
type anyOf[T comparable] []T

// UnmarshalYAML reads a scalar as a list of one.
func (a *anyOf[T]) UnmarshalYAML(n *yamlv3.Node) error {
	if n.Kind == yamlv3.SequenceNode {
		return n.Decode((*[]T)(a))
	}
	var one T
	if err := n.Decode(&one); err != nil {
		return err
	}
	*a = anyOf[T]{one}
	return nil
}

func (a anyOf[T]) takes(v T) bool { return a == nil || slices.Contains(a, v) }

// defaultTolerance of a distribution. Source: the format.
const defaultTolerance = 0.1

// enough raises a count of requests until the tolerance of each share is five standard deviations.
func enough(count int, shares map[string]float64, tolerance float64) int {
	const deviations = 5
	for _, p := range shares {
		count = max(count, int(math.Ceil(p*(1-p)*deviations*deviations/(tolerance*tolerance))))
	}
	return count
}

func (t *run) checkRequest(ctx context.Context, c Check) error {
	var in request
	var want answer
	if err := errors.Join(decodeNode(&c.Request, &in), decodeNode(&c.Expect, &want)); err != nil {
		return err
	}
	trust, err := t.authority(in.Trust)
	if err != nil {
		return err
	}
	ip, url, err := t.route(ctx, c.From, in.URL)
	if err != nil {
		return err
	}
	tolerance := value(want.Tolerance)
	o := order.HTTP{URL: url, Method: in.Method, Headers: in.Headers, Body: in.Body, Count: enough(max(1, in.Count), want.Distribution, tolerance), Concurrency: max(1, in.Concurrency), Trust: trust}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.Count > 1 && in.Concurrency == 0 {
		const lanes = 4 // shorter, and the shares do not depend on it
		o.Concurrency = lanes
	}
	var got order.HTTPResult
	attempts, err := t.making(ctx, in, func() error { return t.control(ctx, ip, "/request", o, &got) })
	if err != nil {
		return err
	}
	if want.UpstreamAttempts != nil && attempts != *want.UpstreamAttempts {
		return fmt.Errorf("%d requests reached the application, expected %d", attempts, *want.UpstreamAttempts)
	}
	return want.judge(got, o.Count, tolerance)
}

// route returns the address of the stand-in that sends a request, and the URL it is to use. For local:// that is the stand-in of
// the pod itself, which asks its own loopback, as a forwarded port would.
func (t *run) route(ctx context.Context, from, url string) (ip, to string, err error) {
	scheme, rest, _ := strings.Cut(url, "://")
	if scheme != "pod" && scheme != "local" {
		ip, err = t.source(ctx, from)
		return ip, url, err
	}
	ns, rest, _ := strings.Cut(rest, "/")
	workload, path, _ := strings.Cut(rest, "/")
	name, port, ok := strings.Cut(workload, ":")
	if !ok {
		return "", "", fmt.Errorf("%s: expected %s://namespace/deployment:port/path", url, scheme)
	}
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return "", "", err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return !isReady(p) })
	if len(pods) == 0 {
		return "", "", fmt.Errorf("deployment %s/%s has no ready pod", ns, name)
	}
	target := pods[0].Status.PodIP
	if scheme == "local" {
		return target, "http://" + net.JoinHostPort("127.0.0.1", port) + "/" + path, nil
	}
	ip, err = t.source(ctx, from)
	return ip, "http://" + net.JoinHostPort(target, port) + "/" + path, err
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// making lets a workload answer with a given status while do runs, and returns how many requests reached it.
func (t *run) making(ctx context.Context, in request, do func() error) (int, error) {
	if in.Make == nil {
		return 0, do()
	}
	ns, name, _ := strings.Cut(in.Make.Workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return 0, err
	}
	set := func(status int) error {
		for _, p := range pods {
			if err := t.control(ctx, p.Status.PodIP, "/make", order.Make{Status: status}, &order.Seen{}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := set(in.Make.Status); err != nil {
		return 0, err
	}
	err = do()
	attempts := 0
	for _, p := range pods {
		var seen order.Seen
		if e := t.control(ctx, p.Status.PodIP, "/seen", struct{}{}, &seen); e != nil {
			err = errors.Join(err, e)
		}
		attempts += seen.Requests
	}
	return attempts, errors.Join(err, set(0))
}

// judge compares answers with what is expected.
func (a answer) judge(got order.HTTPResult, count int, tolerance float64) error {
	for _, g := range got.Groups {
		if err := a.judgeGroup(g); err != nil {
			return fmt.Errorf("%d of %d requests: %w", g.Count, count, err)
		}
	}
	if err := a.statusShares(got, count); err != nil {
		return err
	}
	return a.shares(got, count, tolerance)
}

// statusShares compares how often each status was answered.
func (a answer) statusShares(got order.HTTPResult, count int) error {
	by := map[string]int{}
	for _, g := range got.Groups {
		by[strconv.Itoa(g.Status)] += g.Count
	}
	for status, bounds := range a.StatusShare {
		if err := within(bounds, float64(by[status])/float64(count)); err != nil {
			return fmt.Errorf("share of status %s of %d requests: %w", status, count, err)
		}
	}
	return nil
}

func (a answer) judgeGroup(g order.Group) error {
	failed := g.Error != "" || g.Status < 200 || g.Status > 299
	switch {
	case a.Fails && !failed:
		return fmt.Errorf("status %d, expected a failure", g.Status)
	case a.Fails:
		return nil
	case g.Error != "":
		return errors.New(g.Error)
	case !a.Status.takes(g.Status):
		return fmt.Errorf("status %d (%.120s), expected %v", g.Status, g.Body, a.Status)
	case a.Body != nil && g.Body != *a.Body:
		return fmt.Errorf("body %.120q, expected %q", g.Body, *a.Body)
	case !strings.Contains(g.Body, a.BodyContains):
		return fmt.Errorf("body %.120q does not contain %q", g.Body, a.BodyContains)
	case !strings.HasPrefix(g.Body, a.BodyStartsWith):
		return fmt.Errorf("body %.120q does not start with %q", g.Body, a.BodyStartsWith)
	case a.Chain != nil && g.Chain != strings.Join(a.Chain, ","):
		return fmt.Errorf("chain %s, expected %v", g.Chain, a.Chain)
	case !a.AnsweredBy.takes(last(g.Chain)):
		return fmt.Errorf("answered by %q, expected %v", last(g.Chain), a.AnsweredBy)
	}
	if a.DurationSeconds != nil {
		if err := errors.Join(within(a.DurationSeconds, g.Seconds), within(a.DurationSeconds, g.Slowest)); err != nil {
			return fmt.Errorf("seconds until the answer: %w", err)
		}
	}
	for name, v := range a.ResponseHeaders {
		if h := g.Headers[http.CanonicalHeaderKey(name)]; h == "" || v != "present" && h != v {
			return fmt.Errorf("response header %s is %q, expected %q", name, h, v)
		}
	}
	return a.seen(g)
}

// seen compares what the last application saw of the request.
func (a answer) seen(g order.Group) error {
	parts := append(strings.SplitN(g.Seen, " ", 3), "", "", "")
	at := map[string]string{"protocol": strings.TrimSuffix(parts[0], ".0"), "host": parts[1], "path": parts[2]}
	for k, v := range a.UpstreamSees {
		got, known := at[k]
		if !known {
			return notYet(fmt.Sprintf("upstreamSees.%s", k))
		}
		if got != v {
			return fmt.Errorf("the application saw %s %q, expected %q", k, got, v)
		}
	}
	return nil
}

// shares compares who answered how often.
func (a answer) shares(got order.HTTPResult, count int, tolerance float64) error {
	if a.Distribution == nil {
		return nil
	}
	by := map[string]int{}
	for _, g := range got.Groups {
		chain := strings.Split(g.Chain, ",")
		hop := len(chain) - 1
		if a.Hop != nil {
			hop = *a.Hop
		}
		if hop < 0 || hop >= len(chain) {
			return fmt.Errorf("chain %s has no hop %d", g.Chain, hop)
		}
		by[chain[hop]] += g.Count
	}
	for name := range by {
		if _, ok := a.Distribution[name]; !ok {
			return fmt.Errorf("%d of %d answers came from %q, which is not in the distribution", by[name], count, name)
		}
	}
	for name, p := range a.Distribution {
		if share := float64(by[name]) / float64(count); math.Abs(share-p) > tolerance {
			return fmt.Errorf("%s answered %.1f %% of %d requests, expected %.1f ± %.1f", name, 100*share, count, 100*p, 100*tolerance)
		}
	}
	return nil
}

package corpus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Runner runs cases one after the other.
type Runner struct {
	// Out receives a line per check.
	Out  io.Writer
	kube *kube
}

// New returns a runner for the cluster of cfg.
func New(cfg *rest.Config, out io.Writer) (*Runner, error) {
	k, err := newKube(cfg)
	return &Runner{Out: out, kube: k}, err
}

// Outcome is what came of one check.
type Outcome struct {
	Step    string  `json:"step"`
	Check   string  `json:"check"`
	Passed  bool    `json:"passed"`
	Message string  `json:"message,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Report is what came of one case.
type Report struct {
	Case     string    `json:"case"`
	Outcomes []Outcome `json:"checks"`
	Seconds  float64   `json:"seconds"`
}

// Passed counts the checks that passed; the rest of Outcomes failed.
func (r Report) Passed() int {
	n := 0
	for _, o := range r.Outcomes {
		if o.Passed {
			n++
		}
	}
	return n
}

// run is one case under way.
type run struct {
	*Runner
	c      *Case
	report Report
	// applied are the objects made so far, in order; deployments those that must be ready.
	applied     []*unstructured.Unstructured
	deployments []Ref
	material    material
	// peaks is what proxies showed during the last load; loadName tells apart loads that run at the same time.
	peaks    peaks
	loadName string
}

const (
	// readyLimit is how long workloads may take to be ready after a step's changes.
	readyLimit = 3 * time.Minute
	// settleLeast is what a step may take at least until its checks hold.
	settleLeast = 20 * time.Second
	// holdFor is how long a check that something does not happen must hold.
	holdFor = 3 * time.Second
)

// Run runs one case and cleans up behind it.
func (r *Runner) Run(ctx context.Context, c *Case) Report {
	t := &run{Runner: r, c: c, report: Report{Case: c.Case}}
	start := time.Now()
	fmt.Fprintf(r.Out, "=== %s: %s\n", c.Case, c.Title)
	if err := t.prepare(ctx); err != nil {
		t.outcome("prepare", "environment", start, err)
	} else {
		for _, s := range c.Steps {
			if !t.step(ctx, s) {
				break
			}
		}
	}
	if err := t.cleanUp(ctx); err != nil {
		t.outcome("clean-up", "objects gone", start, err)
	}
	if t.material.provider != nil {
		t.material.provider.Close()
	}
	if err := t.kube.alias(context.WithoutCancel(ctx), nil); err != nil {
		t.outcome("clean-up", "DNS aliases gone", start, err)
	}
	t.report.Seconds = time.Since(start).Seconds()
	return t.report
}

func (t *run) outcome(step, check string, start time.Time, err error) {
	o := Outcome{Step: step, Check: check, Passed: err == nil, Seconds: time.Since(start).Seconds()}
	word := "ok  "
	if err != nil {
		word, o.Message = "FAIL", err.Error()
	}
	t.report.Outcomes = append(t.report.Outcomes, o)
	fmt.Fprintf(t.Out, "%s %s/%s: %s (%.1f s)\n", word, t.c.Case, step, check, o.Seconds)
	if err != nil {
		fmt.Fprintf(t.Out, "     %s\n", err)
	}
}

// Failed is the report of a case that could not be run at all.
func Failed(name string, err error) Report {
	return Report{Case: name, Outcomes: []Outcome{{Step: "load", Check: "expect.yaml", Message: err.Error()}}}
}

// prepare sets the cluster up for the case, and removes what an earlier run left.
func (t *run) prepare(ctx context.Context) error {
	if err := t.kube.configure(ctx, t.c.Controller); err != nil {
		return err
	}
	for _, f := range t.c.Files {
		list, err := documents(t.c.path(f))
		if err != nil {
			return err
		}
		for _, u := range list {
			t.applied = append(t.applied, t.adapt(u))
		}
	}
	if err := t.cleanUp(ctx); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	t.applied = nil
	if err := errors.Join(t.schemas(ctx), t.environment(ctx)); err != nil {
		return err
	}
	return t.outside(ctx)
}

// step makes the changes of a step and its checks. It is false when the rest of the case makes no sense.
func (t *run) step(ctx context.Context, s Step) bool {
	start := time.Now()
	if err := t.change(ctx, s); err != nil {
		t.outcome(s.Name, "changes", start, err)
		return false
	}
	if err := wait(ctx, readyLimit, func() error { return t.ready(ctx, s) }); err != nil {
		t.outcome(s.Name, "workloads are ready", start, err)
		return false
	}
	if !s.changes() {
		t.pause(ctx, s.SettleSeconds)
	}
	limit := max(settleLeast, time.Duration(s.SettleSeconds*float64(time.Second)))
	for i, c := range s.Checks {
		begin := time.Now()
		err := wait(ctx, limit, func() error { return t.check(ctx, s, c) })
		if err == nil && negative(c) {
			err = t.holds(ctx, s, c)
		}
		t.outcome(s.Name, fmt.Sprintf("%d %s", i+1, describe(c)), begin, err)
	}
	begin := time.Now()
	if err := wait(ctx, limit, func() error { return t.resources(ctx, s) }); err != nil {
		t.outcome(s.Name, "resources", begin, err)
	}
	return ctx.Err() == nil
}

// changes is false for a step that only waits: then there is nothing to poll for, the time itself is what it asks for.
func (s Step) changes() bool {
	return len(s.Delete)+len(s.Apply)+len(s.Patch)+len(s.Scale)+len(s.Restart) > 0 || s.LabelNamespace != nil || len(s.RegisterSvids) > 0
}

func (t *run) pause(ctx context.Context, seconds float64) {
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-ctx.Done():
	}
}

// holds repeats a check that passed; it must go on passing.
func (t *run) holds(ctx context.Context, s Step, c Check) error {
	for end := time.Now().Add(holdFor); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		if err := t.check(ctx, s, c); err != nil {
			return fmt.Errorf("held at first, then: %w", err)
		}
	}
	return nil
}

// change does what a step says before its checks, in the order of the format.
func (t *run) change(ctx context.Context, s Step) error {
	for _, r := range s.Delete {
		if err := t.kube.remove(ctx, r); err != nil {
			return fmt.Errorf("delete %s %s/%s: %w", r.Kind, r.Namespace, r.Name, err)
		}
		t.applied = slices.DeleteFunc(t.applied, func(u *unstructured.Unstructured) bool {
			return u.GetKind() == r.Kind && u.GetName() == r.Name && u.GetNamespace() == r.Namespace
		})
		t.deployments = slices.DeleteFunc(t.deployments, func(d Ref) bool { return d == r })
	}
	if err := t.register(s.RegisterSvids); err != nil {
		return fmt.Errorf("registerSvids: %w", err)
	}
	for _, f := range s.Apply {
		if err := t.applyFile(ctx, s, f); err != nil {
			return err
		}
	}
	if l := s.LabelNamespace; l != nil {
		if err := t.patch(ctx, Ref{Kind: "Namespace", Name: l.Namespace}, types.MergePatchType, map[string]any{"metadata": map[string]any{"labels": l.Labels}}); err != nil {
			return err
		}
	}
	for _, p := range s.Patch {
		kind := map[string]types.PatchType{"json": types.JSONPatchType, "merge": types.MergePatchType}[p.Type]
		if kind == "" {
			return fmt.Errorf("unknown type of patch %q", p.Type)
		}
		if err := t.patch(ctx, Ref{p.Kind, p.Namespace, p.Name}, kind, p.Patch); err != nil {
			return err
		}
	}
	for _, sc := range s.Scale {
		kind := sc.Kind
		if kind == "" {
			kind = "Deployment"
		}
		if err := t.patch(ctx, Ref{kind, sc.Namespace, sc.Name}, types.MergePatchType, map[string]any{"spec": map[string]any{"replicas": sc.Replicas}}); err != nil {
			return err
		}
	}
	for _, name := range s.Restart {
		ns, n, _ := strings.Cut(name, "/")
		if err := t.kube.restart(ctx, ns, n); err != nil {
			return err
		}
	}
	return nil
}

func (t *run) patch(ctx context.Context, r Ref, kind types.PatchType, body any) error {
	return t.kube.patch(ctx, r, kind, t.fieldValidation(), body)
}

// applyFile applies the objects of a file in order; those that the step expects to be refused may fail.
func (t *run) applyFile(ctx context.Context, s Step, file string) error {
	list, err := documents(t.c.path(file))
	if err != nil {
		return err
	}
	for _, u := range list {
		if t.skipped(u) {
			continue
		}
		u = t.adapt(u)
		if err := t.kube.apply(ctx, u, metav1.PatchOptions{FieldValidation: t.fieldValidation()}); err != nil {
			if t.refused(s, file, u) {
				continue
			}
			return fmt.Errorf("apply %s %s/%s of %s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), file, err)
		}
		t.applied = append(t.applied, u)
		if d := (Ref{"Deployment", u.GetNamespace(), u.GetName()}); u.GetKind() == "Deployment" && !slices.Contains(t.deployments, d) {
			t.deployments = append(t.deployments, d)
		}
	}
	return nil
}

// fieldValidation is how strict the API server is about unknown fields of the case's objects.
func (t *run) fieldValidation() string {
	return cmp.Or(t.c.Environment.FieldValidation, metav1.FieldValidationStrict)
}

func (t *run) skipped(u *unstructured.Unstructured) bool {
	return slices.ContainsFunc(t.c.Skip, func(s Skip) bool {
		return s.Kind == u.GetKind() && s.Name == u.GetName() && (s.Namespace == "" || s.Namespace == u.GetNamespace())
	})
}

// ready is nil when every Deployment runs, but for those whose pods a check of the step says are refused.
func (t *run) ready(ctx context.Context, s Step) error {
	for _, d := range t.deployments {
		if expectsRefusal(s, d) {
			continue
		}
		if err := t.kube.rolledOut(ctx, d.Namespace, d.Name); err != nil {
			return err
		}
	}
	return nil
}

// resources checks the objects that are there by now against the case's list. A check of the step stands above the list. What
// was still going when it was applied again is not judged: it ends as soon as nothing refers to it.
func (t *run) resources(ctx context.Context, s Step) error {
	for _, r := range t.c.Resources {
		there := slices.ContainsFunc(t.applied, func(u *unstructured.Unstructured) bool {
			return u.GetKind() == r.Kind && u.GetName() == r.Name && (r.Namespace == "" || u.GetNamespace() == r.Namespace) &&
				u.GetDeletionTimestamp() == nil
		})
		object := r.Kind + "/" + r.Namespace + "/" + r.Name
		if r.Namespace == "" {
			object = r.Kind + "/" + r.Name
		}
		judged := slices.ContainsFunc(s.Checks, func(c Check) bool { return c.Kind == "condition" && c.Object == object })
		if !there || judged {
			continue
		}
		if err := t.resource(ctx, r, object); err != nil {
			return err
		}
	}
	return nil
}

func (t *run) resource(ctx context.Context, r Resource, object string) error {
	u, err := t.get(ctx, object)
	if err != nil {
		return err
	}
	if name, _, _ := unstructured.NestedString(u.Object, "spec", "awsName"); r.AWSName != "" && name != r.AWSName {
		return fmt.Errorf("%s: spec.awsName is %q, expected %q", object, name, r.AWSName)
	}
	if r.Condition == "" || r.Status == "" {
		return nil
	}
	return conditionIs(u, r.Condition, r.Status)
}

// cleanUp deletes everything the case makes and waits until it is gone.
func (t *run) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	for _, u := range slices.Backward(t.applied) {
		r, err := t.kube.resource(u.GroupVersionKind(), u.GetNamespace())
		if err != nil {
			continue // a kind that does not exist has no objects
		}
		now := int64(1)
		if err := r.Delete(ctx, u.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return wait(ctx, time.Minute, func() error {
		for _, u := range t.applied {
			r, err := t.kube.resource(u.GroupVersionKind(), u.GetNamespace())
			if err != nil {
				continue
			}
			if _, err := r.Get(ctx, u.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s %s/%s is still there", u.GetKind(), u.GetNamespace(), u.GetName())
			}
		}
		return nil
	})
}

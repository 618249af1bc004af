package corpus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// checkLog looks for a line in the logs of a container.
func (t *run) checkLog(ctx context.Context, c Check) error {
	var want struct{ Contains string }
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	ns, name, _ := strings.Cut(c.Workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		b, err := t.kube.typed.CoreV1().Pods(ns).GetLogs(p.Name, &corev1.PodLogOptions{Container: c.Container}).DoRaw(ctx)
		if err != nil {
			return err
		}
		if strings.Contains(string(b), want.Contains) {
			return nil
		}
	}
	return fmt.Errorf("no log of container %s of %s contains %q", c.Container, c.Workload, want.Contains)
}

// checkStat reads the statistics of the proxies of a workload.
func (t *run) checkStat(ctx context.Context, c Check) error {
	var want struct {
		AtLeast    *float64 `yaml:"atLeast"`
		AtMost     *float64 `yaml:"atMost"`
		SawAtLeast *float64 `yaml:"sawAtLeast"`
	}
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	re, err := regexp.Compile("^(" + c.Stat + ")$")
	if err != nil {
		return err
	}
	if want.SawAtLeast != nil {
		most, found := t.peaks.highest(c.Workload, re)
		if found == 0 {
			return fmt.Errorf("no proxy of %s showed a statistic %s during the load before", c.Workload, c.Stat)
		}
		if most < *want.SawAtLeast {
			return fmt.Errorf("%s was %v at most during the load, expected at least %v", c.Stat, most, *want.SawAtLeast)
		}
	}
	if want.AtLeast == nil && want.AtMost == nil {
		return nil
	}
	ns, name, _ := strings.Cut(c.Workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return err
	}
	found, most := 0, 0.0
	for _, p := range pods {
		values, err := statistics(ctx, p.Status.PodIP, re)
		if err != nil {
			return err
		}
		found += len(values)
		for _, v := range values {
			most = max(most, v)
		}
	}
	switch {
	case found == 0:
		return fmt.Errorf("no proxy of %s has a statistic %s", c.Workload, c.Stat)
	case want.AtLeast != nil && most < *want.AtLeast:
		return fmt.Errorf("%s is %v at most, expected at least %v", c.Stat, most, *want.AtLeast)
	case want.AtMost != nil && most > *want.AtMost:
		return fmt.Errorf("%s is %v, expected at most %v", c.Stat, most, *want.AtMost)
	}
	return nil
}

// admission is what a check of that kind expects.
type admission struct {
	Accepted        bool
	By              string
	MessageContains string `yaml:"messageContains"`
}

// checkAdmission applies one object of a file alone. A variant (as) is tried without storing it.
func (t *run) checkAdmission(ctx context.Context, c Check) error {
	var want admission
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	u, err := t.document(c)
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldValidation: cmp.Or(c.FieldValidation, t.fieldValidation())}
	if !c.As.IsZero() {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return want.judge(t.kube.applyAsClient(ctx, u, options))
}

// document finds the object of an admission check in its file and merges the variant into it.
func (t *run) document(c Check) (*unstructured.Unstructured, error) {
	list, err := documents(t.c.path(c.File))
	if err != nil {
		return nil, err
	}
	var as map[string]any
	if !c.As.IsZero() {
		if err := c.As.Decode(&as); err != nil {
			return nil, err
		}
	}
	for _, u := range list {
		u = t.adapt(u)
		merge(u.Object, runtime.DeepCopyJSON(normal(as)))
		name := u.GetKind() + "/" + u.GetName()
		if u.GetNamespace() != "" {
			name = u.GetKind() + "/" + u.GetNamespace() + "/" + u.GetName()
		}
		if name == strings.Replace(c.Object, "//", "/", 1) { // both are written for objects without a namespace
			return u, nil
		}
	}
	return nil, fmt.Errorf("%s has no %s", c.File, c.Object)
}

// normal turns YAML's integers into those of JSON objects.
func normal(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case int:
			m[k] = int64(v)
		case map[string]any:
			m[k] = normal(v)
		}
	}
	return m
}

// merge is RFC 7386 without deletions.
func merge(into, from map[string]any) {
	for k, v := range from {
		child, isMap := v.(map[string]any)
		old, wasMap := into[k].(map[string]any)
		if isMap && wasMap {
			merge(old, child)
		} else {
			into[k] = v
		}
	}
}

func (a admission) judge(err error) error {
	switch {
	case a.Accepted && err != nil:
		return fmt.Errorf("refused, but should be accepted: %w", err)
	case a.Accepted:
		return nil
	case err == nil:
		return errors.New("accepted, but should be refused")
	case !strings.Contains(err.Error(), a.MessageContains):
		return fmt.Errorf("the refusal does not contain %q: %w", a.MessageContains, err)
	}
	by := "schema"
	if strings.Contains(err.Error(), "admission webhook") {
		by = "webhook"
	} else if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return err
	}
	if a.By != "" && a.By != by {
		return fmt.Errorf("refused by the %s, expected by the %s: %w", by, a.By, err)
	}
	return nil
}

// refused says whether a step's admission check expects an object not to be stored.
func (t *run) refused(s Step, file string, u *unstructured.Unstructured) bool {
	for _, c := range s.Checks {
		var want admission
		if c.Kind != "admission" || c.File != file || !c.As.IsZero() || decodeNode(&c.Expect, &want) != nil || want.Accepted {
			continue
		}
		if d, err := t.document(c); err == nil && d.GetKind() == u.GetKind() && d.GetName() == u.GetName() && d.GetNamespace() == u.GetNamespace() {
			return true
		}
	}
	return false
}

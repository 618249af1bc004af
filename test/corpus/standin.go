package corpus

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Image is the stand-in for every application; the operator's own pods are not touched.
const Image = "aftermesh/echo:dev"

// echoConfig is the configuration of a stand-in, see test/echo.
type echoConfig struct {
	Identity string        `json:"identity"`
	Listens  []echoListen  `json:"listens"`
	Forwards []echoForward `json:"forwards,omitempty"`
	Rules    []echoRule    `json:"rules,omitempty"`
}

type echoRule struct {
	When         string  `json:"when"`
	DelaySeconds float64 `json:"delaySeconds,omitempty"`
	Fault        string  `json:"fault,omitempty"`
	Statuses     []int   `json:"statuses,omitempty"`
}

type phrase struct {
	pattern *regexp.Regexp
	fault   string
	builtIn bool // what every stand-in does
	// apply takes what the groups of the pattern found.
	apply func(rule *echoRule, groups []string) error
}

// phrases are the special answers that a case may ask for. Health checks of a proxy never get one.
var phrases = []phrase{
	{pattern: regexp.MustCompile(`^\S+, after (\d+) seconds$`), apply: func(r *echoRule, groups []string) error {
		_, err := fmt.Sscan(groups[0], &r.DelaySeconds)
		return err
	}},
	{pattern: regexp.MustCompile(`^(\d{3}) or (\d{3}), half and half at random$`), apply: func(r *echoRule, groups []string) error {
		r.Statuses = make([]int, len(groups))
		_, err := fmt.Sscan(strings.Join(groups, " "), &r.Statuses[0], &r.Statuses[1])
		return err
	}},
	{pattern: regexp.MustCompile(`^\S+, or 500 while the pod is faulty$`), fault: "obey"},
	{pattern: regexp.MustCompile(`^200, and makes the one pod that got it faulty$`), fault: "begin"},
	{pattern: regexp.MustCompile(`^200, and heals the pod that got it$`), fault: "end"},
	{pattern: regexp.MustCompile(`^the current colour, at first \S+$`), builtIn: true},
	{pattern: regexp.MustCompile(`^the colour before, and keeps the new one$`), builtIn: true},
	{pattern: regexp.MustCompile(`^SERVING$`), builtIn: true},
}

// rules turns the words of a case into rules of the stand-in; words that it does not know are an error.
func (w Workload) rules() ([]echoRule, error) {
	var out []echoRule
	for _, r := range w.Rules {
		i := slices.IndexFunc(phrases, func(p phrase) bool { return p.pattern.MatchString(r.Answers) })
		if i < 0 {
			return nil, fmt.Errorf("deployment %s: unknown rule %q", w.Deployment, r.Answers)
		}
		if phrases[i].builtIn {
			continue
		}
		rule := echoRule{When: strings.TrimPrefix(r.When, "any path but a health check"), Fault: phrases[i].fault}
		if apply := phrases[i].apply; apply != nil {
			if err := apply(&rule, phrases[i].pattern.FindStringSubmatch(r.Answers)[1:]); err != nil {
				return nil, err
			}
		}
		out = append(out, rule)
	}
	return out, nil
}

type echoListen struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

type echoForward struct {
	When     string   `json:"when"`
	To       string   `json:"to"`
	Protocol string   `json:"protocol,omitempty"`
	Headers  []string `json:"headers,omitempty"`
}

func configOf(w Workload) echoConfig {
	c := echoConfig{Identity: w.Answers}
	for _, l := range w.Listens {
		c.Listens = append(c.Listens, echoListen{l.Port, l.Protocol})
	}
	c.Rules, _ = w.rules() // Load has refused a case with others
	for _, f := range w.Forwards {
		c.Forwards = append(c.Forwards, echoForward{f.When, f.To, f.Protocol, f.Headers})
	}
	return c
}

// adapt gives an object a namespace if it has none, and replaces the images of a workload.
func (t *run) adapt(u *unstructured.Unstructured) *unstructured.Unstructured {
	u = u.DeepCopy()
	ns := t.c.Environment.ApplyNamespace
	if ns == "" {
		ns = "default"
	}
	if m, err := t.kube.mapper.RESTMapping(u.GroupVersionKind().GroupKind(), u.GroupVersionKind().Version); err == nil && m.Scope.Name() == "namespace" && u.GetNamespace() == "" {
		u.SetNamespace(ns)
	}
	if u.GetKind() == "Rollout" && u.GetNamespace() == "" {
		u.SetNamespace(ns)
	}
	for _, w := range t.c.Workloads {
		kind := w.Kind
		if kind == "" {
			kind = "Deployment"
		}
		if u.GetKind() == kind && u.GetName() == w.Deployment && u.GetNamespace() == w.Namespace && w.Role != "gateway" {
			standIn(u, configOf(w))
		}
	}
	return u
}

// standIn replaces the program of every container: the first one plays the role, others wait.
func standIn(u *unstructured.Unstructured, c echoConfig) {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	for i, raw := range containers {
		container, ok := raw.(map[string]any)
		if !ok {
			continue
		}
		if i > 0 {
			c = echoConfig{Identity: fmt.Sprint(container["name"])}
		}
		b, err := json.Marshal(c)
		if err != nil {
			continue
		}
		for _, k := range []string{"command", "args", "resources", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "envFrom"} {
			delete(container, k)
		}
		container["image"], container["imagePullPolicy"] = Image, "IfNotPresent"
		container["env"] = []any{map[string]any{"name": "ECHO_CONFIG", "value": string(b)}}
		container["securityContext"] = map[string]any{"runAsUser": int64(0)} // ports below 1024
		containers[i] = container
	}
	if err := unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers"); err != nil {
		return // an object without containers is applied as it is
	}
}

// The namespace outside of every mesh.
const outsideNamespace = "outside"

// foreign are the kinds of other projects that cases contain. Their controllers are not there; the objects are stored as they are.
var foreign = []struct{ group, version, kind, plural string }{
	{"argoproj.io", "v1alpha1", "Rollout", "rollouts"},
	{"cert-manager.io", "v1", "Issuer", "issuers"},
	{"cert-manager.io", "v1", "Certificate", "certificates"},
}

// schemas makes the foreign kinds known.
func (t *run) schemas(ctx context.Context) error {
	for _, f := range foreign {
		crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f.plural+"."+f.group, map[string]any{"spec": map[string]any{
			"group": f.group, "scope": "Namespaced",
			"names": map[string]any{"kind": f.kind, "plural": f.plural, "singular": strings.ToLower(f.kind), "listKind": f.kind + "List"},
			"versions": []any{map[string]any{"name": f.version, "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		}})
		if err := t.kube.apply(ctx, crd, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("apply %s %s: %w", crd.GetKind(), crd.GetName(), err)
		}
	}
	return wait(ctx, readyLimit, func() error {
		for _, f := range foreign {
			if _, err := t.kube.resource(schema.GroupVersionKind{Group: f.group, Version: f.version, Kind: f.kind}, outsideNamespace); err != nil {
				return err
			}
		}
		return nil
	})
}

// outside makes the namespace outside, with a client that answers "outside" too.
func (t *run) outside(ctx context.Context) error {
	labels := map[string]any{"app": "client"}
	config, err := json.Marshal(echoConfig{Identity: "outside", Listens: []echoListen{{8080, "http"}}})
	if err != nil {
		return err
	}
	for _, o := range []map[string]any{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": outsideNamespace}},
		{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "client", "namespace": outsideNamespace}, "spec": map[string]any{
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{
				"name": "client", "image": Image, "imagePullPolicy": "IfNotPresent", "env": []any{map[string]any{"name": "ECHO_CONFIG", "value": string(config)}},
			}}}},
		}},
		{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "echo", "namespace": outsideNamespace}, "spec": map[string]any{
			"selector": labels, "ports": []any{map[string]any{"port": int64(8080)}},
		}},
	} {
		u := &unstructured.Unstructured{Object: o}
		if err := t.kube.apply(ctx, u, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("apply %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return wait(ctx, readyLimit, func() error { return t.kube.rolledOut(ctx, outsideNamespace, "client") })
}

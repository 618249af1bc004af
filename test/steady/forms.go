package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

const (
	formsNamespace = "steady-forms"
	formsOutside   = "steady-forms-outside"
	// formsWeb is what callers of the mesh ask.
	formsWeb = "http://web." + formsNamespace + ".svc.cluster.local:8080/"
	// starting is how long a pod may take until it is ready.
	starting = 90 * time.Second
)

// form is one way in which pods are injected: the manifest of its pods, and what must be seen of them. Only a kubelet proves it.
type form struct {
	what, manifest string
	see            func(*stage, context.Context, *findings) error
}

// forms in the order in which they are looked at. The last one takes the operator away for a while.
var forms = []form{
	{"probes, hooks and a scrape pass STRICT listeners", "strict.yaml", (*stage).strictForm},
	{"without rewriting STRICT listeners refuse probes", "unrewritten.yaml", (*stage).unrewrittenForm},
	{"a node becomes STRICT under its pods", "later.yaml", (*stage).laterForm},
	{"App Mesh's readiness gate is opened", "gate.yaml", (*stage).gateForm},
	{"ordinary containers, waiting and not", "ordinary.yaml", (*stage).ordinaryForm},
	{"init containers and native sidecars of the pod", "containers.yaml", (*stage).containersForm},
	{"non-root, without token, with the node's DNS", "contexts.yaml", (*stage).contextsForm},
	{"a gateway with a command of its own", "gateway.yaml", (*stage).gatewayForm},
	{"files for the bootstrap, good and broken", "files.yaml", (*stage).filesForm},
	{"a pod starts while the control plane is away", "waiting.yaml", (*stage).waitingForm},
}

// forms puts a mesh in place and looks at one form after the other.
func (s *stage) forms(ctx context.Context) error {
	for _, ns := range []string{formsNamespace, formsOutside} {
		if err := s.fresh(ctx, ns); err != nil {
			return err
		}
	}
	if err := s.apply(ctx, "forms/base.yaml"); err != nil {
		return err
	}
	if err := errors.Join(s.rolled(ctx, formsNamespace, "web", "caller"), s.rolled(ctx, formsOutside, "stranger")); err != nil {
		return err
	}
	for _, f := range forms {
		found, start := &findings{bad: map[string]int{}}, time.Now()
		err := s.apply(ctx, "forms/"+f.manifest)
		if err == nil {
			err = f.see(s, ctx, found)
		}
		s.found("forms", f.what, start, found, err)
		if err := s.discard(ctx, "forms/"+f.manifest); err != nil {
			return err
		}
	}
	return nil
}

// findings are what was looked at for a row, and what was not as it must be.
type findings struct {
	made int
	bad  map[string]int
}

// check counts something that was looked at; the error says what was wrong.
func (f *findings) check(what string, err error) {
	f.made++
	if err != nil {
		f.bad[what+": "+err.Error()]++
	}
}

// found adds the row of findings. An error is what kept the rest from being looked at.
func (s *stage) found(scenario, what string, start time.Time, f *findings, err error) {
	if err != nil {
		f.check("the rest was not looked at", err)
	}
	r := row{Scenario: scenario, What: what, Seconds: time.Since(start).Seconds(), Requests: f.made, Failed: sum(f.bad), Failures: f.bad}
	s.rows = append(s.rows, r)
	s.say("%-58s %3d checks, %d failed", what, r.Requests, r.Failed)
	for why := range f.bad {
		s.say("  %s", why)
	}
}

// eventually asks until there is no error, and returns the last one when patience is over.
func eventually(ctx context.Context, patience time.Duration, ask func() error) error {
	end := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("still after %v: %w", patience, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// read reads one object, or a list, as kubectl gets it.
func (s *stage) read(ctx context.Context, into any, args ...string) error {
	out, err := s.kubectl.Run(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

func (s *stage) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	p := &corev1.Pod{}
	return p, s.read(ctx, p, "-n", formsNamespace, "get", "pod", name)
}

// podOf is the first pod of an app.
func (s *stage) podOf(ctx context.Context, namespace, app string) (*corev1.Pod, error) {
	var list corev1.PodList
	if err := s.read(ctx, &list, "-n", namespace, "get", "pods", "-l", "app="+app); err != nil {
		return nil, err
	}
	list.Items = slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("there is no pod of %s/%s", namespace, app)
	}
	return &list.Items[0], nil
}

// ready waits until a pod is ready and returns it.
func (s *stage) ready(ctx context.Context, name string) (*corev1.Pod, error) {
	if _, err := s.kubectl.Run(ctx, "-n", formsNamespace, "wait", "--for=condition=Ready", "pod/"+name, fmt.Sprintf("--timeout=%.0fs", starting.Seconds())); err != nil {
		return nil, err
	}
	return s.pod(ctx, name)
}

// is says whether a condition of a pod holds.
func is(p *corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind && c.Status == corev1.ConditionTrue })
}

// statuses are those of all containers of a pod.
func statuses(p *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
}

// container is the status of one container; empty if there is none yet.
func container(p *corev1.Pod, name string) corev1.ContainerStatus {
	for _, c := range statuses(p) {
		if c.Name == name {
			return c
		}
	}
	return corev1.ContainerStatus{Name: name}
}

// restarts returns an error that names the containers that were started again.
func restarts(p *corev1.Pod) error {
	var names []string
	for _, c := range statuses(p) {
		if c.RestartCount > 0 {
			names = append(names, fmt.Sprintf("%s %d times", c.Name, c.RestartCount))
		}
	}
	if names != nil {
		return fmt.Errorf("kubelet restarted %s", strings.Join(names, ", "))
	}
	return nil
}

// inOrder compares the names of containers.
func inOrder(list []corev1.Container, want ...string) error {
	var got []string
	for _, c := range list {
		got = append(got, c.Name)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("containers %v, want %v", got, want)
	}
	return nil
}

// events are those of a pod with a reason.
func (s *stage) events(ctx context.Context, p *corev1.Pod, reason string) ([]corev1.Event, error) {
	var list corev1.EventList
	err := s.read(ctx, &list, "-n", p.Namespace, "get", "events", "--field-selector", fmt.Sprintf("involvedObject.uid=%s,reason=%s", p.UID, reason))
	return list.Items, err
}

// told returns an error unless a pod has an event, about one of its containers if that is not empty.
func (s *stage) told(ctx context.Context, p *corev1.Pod, reason, container string) error {
	list, err := s.events(ctx, p, reason)
	if err == nil && !slices.ContainsFunc(list, func(e corev1.Event) bool {
		return container == "" || strings.HasSuffix(e.InvolvedObject.FieldPath, "{"+container+"}")
	}) {
		err = fmt.Errorf("pod %s has no event %s %s", p.Name, reason, container)
	}
	return err
}

// asks lets the stand-in application of a pod make a request, once.
func asks(ctx context.Context, p *corev1.Pod, o order.HTTP) (order.Group, error) {
	var got order.HTTPResult
	l := load{"http://" + p.Status.PodIP + ":19999"}
	if err := l.call(ctx, "/request", o, &got); err != nil {
		return order.Group{}, err
	}
	if len(got.Groups) != 1 {
		return order.Group{}, fmt.Errorf("answers of %d kinds: %+v", len(got.Groups), got.Groups)
	}
	return got.Groups[0], nil
}

// meshed returns an error unless 20 requests of a pod are all answered, in the name of its proxy.
func meshed(ctx context.Context, p *corev1.Pod, o order.HTTP) error {
	o.Count, o.Concurrency = 20, 2
	g, err := asks(ctx, p, o)
	if err != nil {
		return err
	}
	if g.Error != "" || g.Status != http.StatusOK || g.Headers["Server"] != "envoy" {
		return fmt.Errorf("status %d, server %q, error %q", g.Status, g.Headers["Server"], g.Error)
	}
	return nil
}

// fetch asks a port of a pod from the machine, which is outside of the mesh.
func fetch(ctx context.Context, p *corev1.Pod, port int, path string) (int, string, error) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d%s", p.Status.PodIP, port, path), http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// seen are the paths that reached the application of a pod.
func seen(ctx context.Context, p *corev1.Pod) (map[string]int, error) {
	var got order.Seen
	l := load{"http://" + p.Status.PodIP + ":19999"}
	err := l.call(ctx, "/seen", struct{}{}, &got)
	return got.Paths, err
}

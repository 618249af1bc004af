package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

const (
	// quietFor is how long nothing may go wrong with a pod that is ready.
	quietFor = 30 * time.Second
	// soon is how long something may take that the operator or kubelet does by the way.
	soon = 30 * time.Second
	// passing is the port where kubelet and Prometheus pass listeners. Source: docs/injection.md.
	passing = 15020
)

// strictForm has three probes of every way, two hooks and a scrape on listeners that take nothing but TLS.
func (s *stage) strictForm(ctx context.Context, f *findings) error {
	p, err := s.ready(ctx, "strict")
	if err != nil {
		return err
	}
	since := time.Now()
	stranger, err := s.podOf(ctx, formsOutside, "stranger")
	if err != nil {
		return err
	}
	caller, err := s.podOf(ctx, formsNamespace, "caller")
	if err != nil {
		return err
	}
	// The caller's proxy learns of the pod a moment after kubectl.
	f.check("a caller of the mesh", eventually(ctx, 5*time.Second, func() error {
		return meshed(ctx, caller, order.HTTP{URL: "http://strict." + formsNamespace + ".svc.cluster.local:8080/"})
	}))
	at := "http://" + p.Status.PodIP
	f.check("clear text from outside", refuses(ctx, stranger, at+":8080/"))
	f.check("clear text from outside to the rewritten probe's path", refuses(ctx, stranger, at+":8080/number/liveness"))
	f.check("another path of the port of probes", answers(ctx, stranger, fmt.Sprintf("%s:%d/", at, passing), http.StatusNotFound))
	f.check("a path that only looks like a probe's", answers(ctx, stranger, fmt.Sprintf("%s:%d/probe/number/liveness/x", at, passing), http.StatusNotFound))
	port, path := p.Annotations["prometheus.io/port"], p.Annotations["prometheus.io/path"]
	if port != fmt.Sprint(passing) {
		f.check("the scrape's annotation", fmt.Errorf("port %q, want %d", port, passing))
	}
	f.check("a scrape", answers(ctx, stranger, at+":"+port+path, http.StatusOK))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(since.Add(quietFor))):
	}
	s.probesArrived(ctx, f, p)
	if p, err = s.pod(ctx, "strict"); err != nil {
		return err
	}
	f.check(fmt.Sprintf("%v later", quietFor), restarts(p))
	f.check("it is ready still", ifNot(is(p, corev1.PodReady), "it is not"))
	list, err := s.events(ctx, p, "Unhealthy")
	for _, e := range list {
		if e.LastTimestamp.After(since.Add(time.Second)) { // times of events are whole seconds
			err = errors.Join(err, errors.New(e.Message))
		}
	}
	f.check("no probe fails after the pod was ready", err)
	return s.bye(ctx, f, p)
}

// probesArrived looks at what the application counted.
func (s *stage) probesArrived(ctx context.Context, f *findings, p *corev1.Pod) {
	paths, err := seen(ctx, p)
	if err != nil {
		f.check("the application's counts", err)
		return
	}
	for _, want := range []struct {
		path  string
		least int
	}{
		{"/number/startup", 1}, {"/number/liveness", 5}, {"/number/readiness", 5}, {"/named/startup", 1}, {"/named/liveness", 5}, {"/named/readiness", 5},
		{"/grpc.health.v1.Health/Check", 11}, {"/hello", 1}, {"/metrics", 1},
	} {
		if n := paths[want.path]; n < want.least {
			f.check("arrived of "+want.path, fmt.Errorf("%d, want %d or more", n, want.least))
		} else {
			f.check("arrived of "+want.path, nil)
		}
	}
}

// bye deletes the pod, whose hook then asks it, which it passes on to the web.
func (s *stage) bye(ctx context.Context, f *findings, p *corev1.Pod) error {
	web, err := s.podOf(ctx, formsNamespace, "web")
	if err != nil {
		return err
	}
	if _, err := s.kubectl.Run(ctx, "-n", formsNamespace, "delete", "pod", p.Name, "--timeout=60s"); err != nil {
		return err
	}
	paths, err := seen(ctx, web)
	if err == nil && paths["/bye"] != 1 {
		err = fmt.Errorf("it arrived %d times", paths["/bye"])
	}
	f.check("the preStop hook", err)
	return nil
}

// refuses returns an error if a request of a pod gets any answer.
func refuses(ctx context.Context, p *corev1.Pod, url string) error {
	g, err := asks(ctx, p, order.HTTP{URL: url})
	if err == nil && g.Error == "" {
		err = fmt.Errorf("it was answered with %d", g.Status)
	}
	return err
}

// answers returns an error unless a request of a pod gets a status.
func answers(ctx context.Context, p *corev1.Pod, url string, status int) error {
	g, err := asks(ctx, p, order.HTTP{URL: url})
	if err == nil && g.Status != status {
		err = fmt.Errorf("status %d, want %d: %s", g.Status, status, g.Error)
	}
	return err
}

// ifNot makes an error of something that is not so.
func ifNot(so bool, otherwise string) error {
	if so {
		return nil
	}
	return errors.New(otherwise)
}

// unrewrittenForm shows that the probes of the form before would fail.
func (s *stage) unrewrittenForm(ctx context.Context, f *findings) error {
	p, err := s.pod(ctx, "unrewritten")
	if err != nil {
		return err
	}
	f.check("kubelet is refused", eventually(ctx, starting, func() error { return s.told(ctx, p, "Unhealthy", "app") }))
	time.Sleep(10 * time.Second) // it would become ready by now
	if p, err = s.pod(ctx, "unrewritten"); err != nil {
		return err
	}
	f.check("its application runs", ifNot(container(p, "app").State.Running != nil, "it does not"))
	f.check("it is not ready", ifNot(!is(p, corev1.PodReady), "it is"))
	return nil
}

// laterForm turns a node to STRICT while a pod of it runs.
func (s *stage) laterForm(ctx context.Context, f *findings) error {
	if err := s.rolled(ctx, formsNamespace, "later"); err != nil {
		return err
	}
	p, err := s.podOf(ctx, formsNamespace, "later")
	if err != nil {
		return err
	}
	if err := s.patch(ctx, formsNamespace, "virtualnode/later", `{"spec":{"listeners":[{"portMapping":{"port":8080,"protocol":"http"},`+
		`"tls":{"mode":"STRICT","certificate":{"acm":{"certificateARN":"arn:aws:acm:eu-west-1:1:certificate/strict"}}}}]}}`); err != nil {
		return err
	}
	const words = "the readiness probe of container app asks port 8080: the listener is STRICT"
	f.check("the operator tells the pod", eventually(ctx, soon, func() error { return s.told(ctx, p, "ProbesRefused", "") }))
	f.check("kubelet is refused", eventually(ctx, soon, func() error { return s.told(ctx, p, "Unhealthy", "app") }))
	f.check("the node's condition", s.until(ctx, formsNamespace, "virtualnode/later", `.status.conditions[?(@.type=="Injected")].reason`, "ProbesRefused", soon))
	out, _ := s.aftermesh(ctx, "check") // it fails because it finds something
	f.check("aftermesh check", ifNot(strings.Contains(out, "deployment/later in namespace "+formsNamespace) && strings.Contains(out, words), out))
	out, err = s.aftermesh(ctx, "explain", "pod", formsNamespace+"/"+p.Name)
	f.check("aftermesh explain pod", errors.Join(err, ifNot(strings.Contains(out, words), out)))
	out, err = s.aftermesh(ctx, "restart", "-n", formsNamespace, "--outdated", "--timeout=2m")
	if err != nil {
		return fmt.Errorf("aftermesh restart: %w: %s", err, out)
	}
	f.check("the node's condition after the restart", s.until(ctx, formsNamespace, "virtualnode/later", `.status.conditions[?(@.type=="Injected")].reason`, "Injected", soon))
	if p, err = s.podOf(ctx, formsNamespace, "later"); err != nil {
		return err
	}
	f.check("the new pod is ready", ifNot(is(p, corev1.PodReady), "it is not"))
	return nil
}

// aftermesh runs the program on this machine.
func (s *stage) aftermesh(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, s.layout.Bin("aftermesh"), append(args, "--kubeconfig", s.kubectl.Kubeconfig)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

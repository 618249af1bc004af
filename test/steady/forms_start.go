package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/test/echo/order"
	"github.com/aftermesh/aftermesh/test/install"
)

// gateForm has App Mesh's readiness gate, which only somebody with the right of config/gate opens.
func (s *stage) gateForm(ctx context.Context, f *findings) error {
	folder := install.Root(s.layout) + "/config/gate"
	if _, err := s.kubectl.Run(ctx, "delete", "-k", folder, "--ignore-not-found"); err != nil {
		return err
	}
	if _, err := s.kubectl.Run(ctx, "-n", formsNamespace, "wait", "--for=condition=ContainersReady", "pod/gated", fmt.Sprintf("--timeout=%.0fs", starting.Seconds())); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // it would be open by now
	p, err := s.pod(ctx, "gated")
	if err != nil {
		return err
	}
	f.check("without the right it stays closed", ifNot(!is(p, corev1.PodReady), "the pod is ready"))
	if _, err := s.kubectl.Run(ctx, "apply", "-k", folder); err != nil {
		return err
	}
	defer func() {
		_, err := s.kubectl.Run(context.WithoutCancel(ctx), "delete", "-k", folder, "--ignore-not-found")
		f.check("the right is taken away again", err)
	}()
	// The operator, once refused, tries again a minute later.
	_, err = s.ready(ctx, "gated")
	f.check("with it the pod becomes ready", err)
	return nil
}

// ordinaryForm has the proxy among the ordinary containers, as App Mesh had.
func (s *stage) ordinaryForm(ctx context.Context, f *findings) error {
	p, err := s.ready(ctx, "ordinary")
	if err != nil {
		return err
	}
	f.check("the proxy is the last container", inOrder(p.Spec.Containers, "app", "envoy"))
	f.check("a request", meshed(ctx, p, order.HTTP{URL: formsWeb}))
	if p, err = s.ready(ctx, "ordinary-holds"); err != nil {
		return err
	}
	f.check("the proxy is the first container", inOrder(p.Spec.Containers, "envoy", "app"))
	f.check("the first act of the application is answered", errors.Join(restarts(p), ifNot(container(p, "app").State.Running != nil, "the application has ended")))
	f.check("a request", meshed(ctx, p, order.HTTP{URL: formsWeb}))
	return nil
}

// containersForm has init containers and native sidecars of its own, before the proxy and behind it.
func (s *stage) containersForm(ctx context.Context, f *findings) error {
	p, err := s.ready(ctx, "init-first")
	if err != nil {
		return err
	}
	f.check("the proxy is first", inOrder(p.Spec.InitContainers, "envoy", "proxyinit", "early"))
	f.check("the act of an init container is answered", ended(p, "early"))
	f.check("a request", meshed(ctx, p, order.HTTP{URL: formsWeb}))
	if p, err = s.ready(ctx, "own-containers"); err != nil {
		return err
	}
	f.check("the pod's own stay and come first", inOrder(p.Spec.InitContainers, "migrate", "helper", "last", "envoy", "proxyinit"))
	f.check("its init containers", errors.Join(ended(p, "migrate"), ended(p, "last")))
	f.check("its native sidecar runs", errors.Join(restarts(p), ifNot(container(p, "helper").State.Running != nil, "it does not")))
	status, body, err := fetch(ctx, p, 7070, "/")
	f.check("its native sidecar answers", errors.Join(err, ifNot(body == "helper", fmt.Sprintf("status %d: %s", status, body))))
	f.check("a request", meshed(ctx, p, order.HTTP{URL: formsWeb}))
	return nil
}

// ended returns an error unless a container came to a good end at its first try.
func ended(p *corev1.Pod, name string) error {
	c := container(p, name)
	if t := c.State.Terminated; t == nil || t.ExitCode != 0 || c.RestartCount > 0 {
		return fmt.Errorf("container %s: %+v, started again %d times", name, c.State, c.RestartCount)
	}
	return nil
}

// contextsForm has what pods may ask of kubelet that could be in the proxy's way.
func (s *stage) contextsForm(ctx context.Context, f *findings) error {
	ip, err := s.kubectl.Run(ctx, "-n", formsNamespace, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	for _, c := range []struct{ name, url string }{
		{"plain", formsWeb}, {"nonroot", formsWeb}, {"tokenless", formsWeb}, {"zoned", formsWeb},
		{"node-dns", "http://" + ip + ":8080/"},
	} {
		p, err := s.ready(ctx, c.name)
		if err != nil {
			f.check(c.name, err)
			continue
		}
		o := order.HTTP{URL: c.url, Headers: map[string]string{"Host": "web." + formsNamespace + ".svc.cluster.local:8080"}}
		f.check("a request of "+c.name, errors.Join(meshed(ctx, p, o), restarts(p)))
		region, zone := p.Labels[corev1.LabelTopologyRegion], p.Labels[corev1.LabelTopologyZone]
		if c.name == "zoned" {
			zone = "somewhere-else"
		}
		f.check("the place of "+c.name, s.place(ctx, p, region, zone))
	}
	return nil
}

// waitingForm lets a pod of the mesh start while no operator runs.
func (s *stage) waitingForm(ctx context.Context, f *findings) error {
	p, err := s.pod(ctx, "waiting")
	if err != nil {
		return err
	}
	f.check("it was injected", ifNot(len(p.Spec.InitContainers) == 2, "it was not"))
	defer func() { f.check("the operator is back", s.operators(context.WithoutCancel(ctx), 2)) }()
	if err := s.operators(ctx, 0); err != nil {
		return err
	}
	if _, err := s.kubectl.Run(ctx, "-n", formsNamespace, "patch", "pod/waiting", "--type=json", "-p", `[{"op":"remove","path":"/spec/schedulingGates"}]`); err != nil {
		return err
	}
	const words = "the proxy's first configuration"
	f.check("the log says what is waited for", eventually(ctx, starting, func() error {
		out, err := s.kubectl.Run(ctx, "-n", formsNamespace, "logs", "waiting", "-c", "proxyinit")
		return errors.Join(err, ifNot(strings.Contains(out, words), "it says: "+out))
	}))
	f.check("an event says that the proxy is not ready", eventually(ctx, soon, func() error { return s.told(ctx, p, "Unhealthy", "envoy") }))
	if p, err = s.pod(ctx, "waiting"); err != nil {
		return err
	}
	f.check("the application has not started", ifNot(container(p, "app").State.Waiting != nil, fmt.Sprintf("%+v", container(p, "app").State)))
	// After --poststart-timeout, three minutes, the step gives up and is started again.
	f.check("describe says what is waited for", eventually(ctx, 4*time.Minute, func() error {
		out, err := s.kubectl.Run(ctx, "-n", formsNamespace, "describe", "pod", "waiting")
		return errors.Join(err, ifNot(strings.Contains(out, "the proxy has no configuration") && strings.Contains(out, "can this pod reach the control plane?"), "it does not"))
	}))
	if err := s.operators(ctx, 2); err != nil {
		return err
	}
	if p, err = s.ready(ctx, "waiting"); err != nil {
		return err
	}
	f.check("the first act of the application is answered", ifNot(container(p, "app").RestartCount == 0, "kubelet restarted it"))
	f.check("a request", meshed(ctx, p, order.HTTP{URL: formsWeb}))
	return nil
}

// operators sets how many replicas run, and waits until it is so.
func (s *stage) operators(ctx context.Context, replicas int) error {
	const namespace = "aftermesh-system"
	if _, err := s.kubectl.Run(ctx, "-n", namespace, "scale", "deployment/aftermesh", fmt.Sprintf("--replicas=%d", replicas)); err != nil {
		return err
	}
	if replicas > 0 {
		return s.rolled(ctx, namespace, "aftermesh")
	}
	_, err := s.kubectl.Run(ctx, "-n", namespace, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=aftermesh", "--timeout=60s")
	return err
}

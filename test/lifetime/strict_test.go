package lifetime

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// probed gives a pod template two probes and a scrape, with annotations of its own.
func probed(annotations map[string]string) func(*corev1.PodTemplateSpec) {
	return func(t *corev1.PodTemplateSpec) {
		t.Annotations = merged(map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}, annotations)
		app := &t.Spec.Containers[0]
		app.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}}}
		app.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8080}}}
	}
}

// TestANodeThatTurnsStrict: pods whose probes its listener refuses from then on are named, with what ends it, and others are not.
func TestANodeThatTurnsStrict(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	c.create(t, world...)
	c.settled(t)
	c.label(t, "ns", "enabled")
	c.create(t, `{kind: VirtualNode, metadata: {name: front, namespace: ns}, spec: {podSelector: {matchLabels: {node: front}}, listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: front.ns.svc.cluster.local}}}}`)
	c.await(t, "the node is there", func() error { return c.condition(t, "VirtualNode/front", "Injected", "True", "") })
	late := c.workload(t, "late", map[string]string{"node": "front", "app": "late"}, probed(nil))
	inTime := c.workload(t, "in-time", map[string]string{"node": "front", "app": "in-time"}, probed(map[string]string{"aftermesh.dev/rewrite-probes": "enabled"}))
	kept := c.workload(t, "kept", map[string]string{"node": "front", "app": "kept"}, probed(map[string]string{"aftermesh.dev/rewrite-probes": "disabled"}))
	old := c.podOf(t, "late-1", late, nil)
	c.podOf(t, "in-time-1", inTime, nil)
	c.podOf(t, "kept-1", kept, nil)
	single := &corev1.Pod{ObjectMeta: *late.Spec.Template.ObjectMeta.DeepCopy(), Spec: *late.Spec.Template.Spec.DeepCopy()}
	single.Namespace, single.Name = "ns", "single"
	if err := c.client.Create(t.Context(), single); err != nil {
		t.Fatal(err)
	}
	if _, out := c.aftermesh("check"); strings.Contains(out, "outdated") {
		t.Errorf("check before: %s", out)
	}

	c.patch(t, "VirtualNode/front", `{"spec":{"listeners":[{"portMapping":{"port":8080,"protocol":"http"},"tls":{"mode":"STRICT","certificate":{"file":{"certificateChain":"/c","privateKey":"/k"}}}}]}}`)
	c.await(t, "the node says whose probes are refused", func() error {
		return c.condition(t, "VirtualNode/front", "Injected", "False", "a port whose listener is STRICT now and refuses them: late-1 (8080) (1 in all); restart them: aftermesh restart -n ns --outdated")
	})
	c.await(t, "the pod is told", func() error { return c.event(t, old.UID, "ProbesRefused") })
	c.await(t, "new pods are rewritten", func() error { return c.rewritten(t, late.Spec.Template) })
	const words = "the liveness probe of container app asks port 8080, the readiness probe of container app asks port 8080, Prometheus by annotation prometheus.io/port asks port 8080: the listener is STRICT now and refuses that"
	code, out := c.aftermesh("check")
	for _, want := range []string{"deployment/late in namespace ns: pod late-1: " + words, "pod/single in namespace ns: pod single: " + words,
		"set annotation aftermesh.dev/rewrite-probes to enabled", "run: aftermesh restart -n ns --outdated"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("check: code %d, without %q:\n%s", code, want, out)
		}
	}
	if strings.Contains(out, "in-time") || strings.Contains(out, "kept") {
		t.Errorf("check names pods that a restart would not change:\n%s", out)
	}
	if code, out := c.aftermesh("restart", "--outdated", "-n", "ns", "--dry-run"); code != 0 || !strings.Contains(out, "late-1") || !strings.Contains(out, words) {
		t.Errorf("restart: code %d, %s", code, out)
	}
	for pod, want := range map[string]string{
		"late-1": "run: aftermesh restart -n ns --outdated; before the next listener becomes STRICT",
		"kept-1": "annotation aftermesh.dev/rewrite-probes: disabled leaves it so",
	} {
		if code, out := c.aftermesh("explain", "pod", "ns/"+pod); code != 0 || !strings.Contains(out, want) ||
			!strings.Contains(out, "the readiness probe of container app asks port 8080: the listener is STRICT and refuses that") {
			t.Errorf("explain %s: code %d, %s", pod, code, out)
		}
	}
	if code, out := c.aftermesh("explain", "pod", "ns/in-time-1"); code != 0 || strings.Contains(out, "STRICT") {
		t.Errorf("explain in-time-1: code %d, %s", code, out)
	}

	for _, p := range []*corev1.Pod{old, single} {
		if err := c.client.Delete(t.Context(), p, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
	c.podOf(t, "late-2", late, nil)
	c.await(t, "nobody is refused", func() error { return c.condition(t, "VirtualNode/front", "Injected", "True", "") })
	if _, out := c.aftermesh("check"); strings.Contains(out, "outdated") {
		t.Errorf("check afterwards: %s", out)
	}
}

// rewritten tries a pod of a template and returns an error unless its probes ask the port that passes listeners.
func (c *cluster) rewritten(t *testing.T, template corev1.PodTemplateSpec) error {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	p.Namespace, p.GenerateName = "ns", "try-"
	if err := c.client.Create(t.Context(), p, client.DryRunAll); err != nil {
		return err
	}
	for _, app := range p.Spec.Containers {
		if port := app.ReadinessProbe.HTTPGet.Port.IntValue(); port != 15020 {
			return fmt.Errorf("the readiness probe asks port %d", port)
		}
	}
	return nil
}

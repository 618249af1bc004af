package lifetime

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// TestOutside: pods that are older than their namespace's label are told by condition, event and check; restart names the workload,
// and an injected pod is out of date as soon as another one would be made in its place.
func TestOutside(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	c.create(t, world...)
	c.settled(t)
	old := c.workload(t, "front", map[string]string{"app": "front"})
	pod := c.podOf(t, "front-old", old, nil)
	c.podOf(t, "front-aside", old, map[string]string{meshv1beta2.LabelInject: "disabled"})
	c.create(t, `{kind: VirtualNode, metadata: {name: front, namespace: ns}, spec: {podSelector: {matchLabels: {app: front}}, listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: front.ns.svc.cluster.local}}}}`)
	c.await(t, "an unlabelled namespace is none of ours", func() error { return c.condition(t, "VirtualNode/front", "Injected", "True", "") })
	if code, out := c.aftermesh("explain", "pod", "ns/front-old"); code != 0 || !strings.Contains(out, "kubectl label namespace ns appmesh.k8s.aws/sidecarInjectorWebhook=enabled") {
		t.Errorf("explain: code %d, %s", code, out)
	}

	c.label(t, "ns", "enabled")
	c.await(t, "the node says who is outside", func() error {
		return c.condition(t, "VirtualNode/front", "Injected", "False", "pods that run without a proxy: front-old (1 in all)")
	})
	c.await(t, "the pod is told", func() error { return c.event(t, pod.UID, "OutsideMesh") })
	if code, out := c.aftermesh("explain", "pod", "ns/front-old", "--port", "8080"); code != 0 || !strings.Contains(out, "injected as VirtualNode ns/front") || !strings.Contains(out, "no proxy of this mesh") {
		t.Errorf("explain: code %d, %s", code, out)
	}
	if code, out := c.aftermesh("check"); code != 1 || !strings.Contains(out, "deployment/front in namespace ns: pod front-old: it runs without a proxy") {
		t.Errorf("check: code %d, %s", code, out)
	}
	if code, out := c.aftermesh("restart", "--outdated", "--outside", "-n", "ns", "--dry-run"); code != 0 || strings.Contains(out, "front-aside") || !strings.Contains(out, "front-old") {
		t.Errorf("dry run: code %d, %s", code, out)
	}
	if at := c.restartedAt(t, "front"); at != "" {
		t.Error("the dry run restarted it at ", at)
	}
	if code, out := c.aftermesh("restart", "--outside", "-n", "ns", "--wait=false"); code != 0 || c.restartedAt(t, "front") == "" {
		t.Errorf("restart: code %d, %s", code, out)
	}

	// What the controllers of a whole cluster would do now.
	if err := c.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	now := c.podOf(t, "front-new", old, nil)
	c.await(t, "nobody is outside", func() error { return c.condition(t, "VirtualNode/front", "Injected", "True", "") })
	if code, out := c.aftermesh("restart", "--outside", "--outdated", "-A", "--dry-run"); code != 0 || !strings.Contains(out, "every pod has the proxy that it should have") {
		t.Errorf("all is well: code %d, %s", code, out)
	}
	if code, out := c.aftermesh("explain", "pod", "ns/front-new", "--port", "8080", "--port", "22"); code != 0 || !strings.Contains(out, "inbound to port 8080: goes to Envoy at 15000") ||
		!strings.Contains(out, "outbound to port 22: leaves the pod directly") {
		t.Errorf("explain: code %d, %s", code, out)
	}
	c.proxyRuns(t, "front-new", time.Minute)
	c.await(t, "a proxy that does not connect is told", func() error { return c.event(t, now.UID, "ProxyNotConnected") })
	c.stop()
	c.options.Version = "newer"
	c.run(t)
	c.answered(t)
	if code, out := c.aftermesh("restart", "--outdated", "-n", "ns", "--dry-run", "-o", "json"); code != 0 || !strings.Contains(out, "it was injected by test, the operator is newer") {
		t.Errorf("out of date: code %d, %s", code, out)
	}
	if code, out := c.aftermesh("restart", "--outdated", "deployment/front"); code != 2 {
		t.Errorf("both ways at once: code %d, %s", code, out)
	}
	if code, out := c.aftermesh("restart", "job/x", "-n", "ns"); code != 2 || !strings.Contains(out, "expected deployment/NAME") {
		t.Errorf("a job: code %d, %s", code, out)
	}
}

// workload is a Deployment with its ReplicaSet; nothing runs here that would make pods of it.
func (c *cluster) workload(t *testing.T, name string, labels map[string]string, change ...func(*corev1.PodTemplateSpec)) *appsv1.ReplicaSet {
	t.Helper()
	selector := &metav1.LabelSelector{MatchLabels: labels}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{ServiceAccountName: "default", Containers: []corev1.Container{{Name: "app", Image: "app"}}}}
	for _, do := range change {
		do(&template)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](1), Selector: selector, Template: template}}
	if err := c.client.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	r := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name + "-1", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name, UID: d.UID, Controller: ptr.To(true)},
		}},
		Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template},
	}
	if err := c.client.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// merged has the entries of both, those of more over those of base.
func merged(base, more map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, base)
	maps.Copy(out, more)
	return out
}

// podOf is made and runs as if a kubelet had started it.
func (c *cluster) podOf(t *testing.T, name string, of *appsv1.ReplicaSet, annotations map[string]string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: of.Namespace, Name: name, Labels: of.Spec.Template.Labels, Annotations: merged(of.Spec.Template.Annotations, annotations),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: of.Name, UID: of.UID, Controller: ptr.To(true)}},
		},
		Spec: *of.Spec.Template.Spec.DeepCopy(),
	}
	var sa corev1.ServiceAccount
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: of.Namespace, Name: "default"}, &sa); err != nil {
		sa = corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, Name: "default"}}
		if err := c.client.Create(t.Context(), &sa); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p.Status.Phase = corev1.PodRunning
	if err := c.client.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// proxyRuns says that the proxy of a pod was started a while ago.
func (c *cluster) proxyRuns(t *testing.T, pod string, since time.Duration) {
	t.Helper()
	var p corev1.Pod
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: pod}, &p); err != nil {
		t.Fatal(err)
	}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "envoy", State: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-since))},
	}}}
	if err := c.client.Status().Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) label(t *testing.T, namespace, value string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, meshv1beta2.LabelInject, value)
	if err := c.client.Patch(t.Context(), ns, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) event(t *testing.T, uid types.UID, reason string) error {
	t.Helper()
	var list eventsv1.EventList
	if err := c.client.List(t.Context(), &list, client.InNamespace("ns")); err != nil {
		return err
	}
	for _, e := range list.Items {
		if e.Regarding.UID == uid && e.Reason == reason {
			return nil
		}
	}
	return errors.New("no such event")
}

func (c *cluster) restartedAt(t *testing.T, name string) string {
	t.Helper()
	var d appsv1.Deployment
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"]
}

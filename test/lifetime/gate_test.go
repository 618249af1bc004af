package lifetime

import (
	"fmt"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const gate = "conditions.appmesh.k8s.aws/aws-cloudmap-healthy"

// pod makes a pod whose containers are ready or not.
func (c *cluster) pod(t *testing.T, name string, ready corev1.ConditionStatus, gates ...corev1.PodConditionType) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
	for _, g := range gates {
		pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: g})
	}
	if err := c.client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: ready}, {Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	if err := c.client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

// podCondition is the status of a pod's condition; empty if it has none.
func (c *cluster) podCondition(t *testing.T, name string, kind corev1.PodConditionType) corev1.ConditionStatus {
	t.Helper()
	var pod corev1.Pod
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, &pod); err != nil {
		t.Fatal(err)
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == kind {
			return condition.Status
		}
	}
	return ""
}

func TestTheReadinessGateOfAppMeshIsOpened(t *testing.T) {
	c := start(t)
	c.pod(t, "before", corev1.ConditionTrue, gate)
	c.pod(t, "unready", corev1.ConditionFalse, gate)
	c.pod(t, "ungated", corev1.ConditionTrue)
	c.pod(t, "other", corev1.ConditionTrue, "example.com/other")
	c.install(t, filepath.Join(config, "gate", "role.yaml"), nil)
	c.run(t)
	c.pod(t, "after", corev1.ConditionTrue, "example.com/other", gate)
	for _, name := range []string{"before", "after"} {
		c.await(t, "the gate of "+name+" is open", func() error {
			if got := c.podCondition(t, name, gate); got != corev1.ConditionTrue {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		})
		if got := c.podCondition(t, name, corev1.ContainersReady); got != corev1.ConditionTrue {
			t.Errorf("%s: another condition became %q", name, got)
		}
	}
	for name, kind := range map[string]corev1.PodConditionType{"unready": gate, "ungated": gate, "other": gate, "after": "example.com/other"} {
		if got := c.podCondition(t, name, kind); got != "" {
			t.Errorf("%s: condition %s is %q", name, kind, got)
		}
	}
}

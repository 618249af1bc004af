package lifetime

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestPodSecurity: in a namespace of the strictest Pod Security Standard injected pods are let in with the CNI plugin, and refused with
// the init container, which needs NET_ADMIN.
func TestPodSecurity(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	c.create(t, world...)
	c.settled(t)
	c.label(t, "ns", "enabled")
	var ns corev1.Namespace
	if err := c.client.Get(t.Context(), client.ObjectKey{Name: "ns"}, &ns); err != nil {
		t.Fatal(err)
	}
	ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	if err := c.client.Update(t.Context(), &ns); err != nil {
		t.Fatal(err)
	}
	sa := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "default"}}
	if err := c.client.Create(t.Context(), &sa); err != nil {
		t.Fatal(err)
	}
	try := func(cni string) error {
		return c.client.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", Labels: map[string]string{"app": "a"}, Annotations: map[string]string{"appmesh.k8s.aws/appmeshCNI": cni}},
			Spec: corev1.PodSpec{
				ServiceAccountName: "default",
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](1000), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Containers: []corev1.Container{{Name: "app", Image: "app", SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				}}},
			},
		}, client.DryRunAll)
	}
	c.await(t, "the namespace's label counts", func() error {
		if err := try("disabled"); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) || !strings.Contains(err.Error(), "proxyinit") {
			return fmt.Errorf("let in, or refused for another reason: %w", err)
		}
		return nil
	})
	if err := try("enabled"); err != nil {
		t.Error("CNI form: ", err)
	}
}

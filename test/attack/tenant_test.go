package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/test/fleet"
)

// Create creates the objects of a YAML stream as a tenant or as the administrator and returns the first error.
func (w *World) Create(ctx context.Context, as client.Client, text string) error {
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 1<<12); ; {
		var u unstructured.Unstructured
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("decode object: %w", err)
		}
		if u.Object == nil {
			continue
		}
		if err := as.Create(ctx, &u); err != nil {
			return fmt.Errorf("create %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
	}
}

// must creates the objects and fails the test if one is refused.
func (w *World) must(t *testing.T, as client.Client, text string) {
	t.Helper()
	if err := w.Create(t.Context(), as, text); err != nil {
		t.Fatal(err)
	}
}

// pod is a pod of a tenant that runs.
type pod struct {
	*corev1.Pod
	Token string
}

// pod makes a pod as its tenant, through the webhooks, and says that it runs. change may shape it before.
func (w *World) pod(t *testing.T, as client.Client, namespace, name string, labels map[string]string, change func(*corev1.Pod)) pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: "worker", ServiceAccountName: account,
			Containers: []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
		},
	}
	if change != nil {
		change(p)
	}
	if err := as.Create(t.Context(), p); err != nil {
		t.Fatalf("create pod %s/%s: %v", namespace, name, err)
	}
	w.pods++
	ip := fmt.Sprintf("10.200.%d.%d", w.pods/250, 1+w.pods%250)
	before := p.DeepCopy()
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
	}
	if err := w.Admin.Status().Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
		t.Fatalf("pod %s/%s runs: %v", namespace, name, err)
	}
	token, err := fleet.Token(t.Context(), w.Kube, p)
	if err != nil {
		t.Fatal(err)
	}
	return pod{Pod: p, Token: token}
}

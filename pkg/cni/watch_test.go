package cni

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

// running is a pod in CNI form, of a ReplicaSet unless it is bare.
func running(name string, bare bool) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name), Annotations: map[string]string{
			"appmesh.k8s.aws/sidecarInjectorWebhook": "enabled", "appmesh.k8s.aws/proxyEgressPort": "15001", "appmesh.k8s.aws/proxyIngressPort": "15000",
			"appmesh.k8s.aws/ignoredUID": "1337", "appmesh.k8s.aws/ports": "8080",
		}},
		Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if !bare {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "r", Controller: ptr.To(true)}}
	}
	return p
}

func TestPodsWithoutRedirectionAreToldOnceAndEndIfTheyMay(t *testing.T) {
	for _, c := range []struct {
		name              string
		remove, forbidden bool
		fails             bool
		left              []string
	}{
		{name: "told only", left: []string{"bare", "owned", "redirected"}},
		{name: "deleted where a controller recreates them", remove: true, left: []string{"bare", "redirected"}},
		{name: "told once although they may not be deleted", remove: true, forbidden: true, fails: true, left: []string{"bare", "owned", "redirected"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := fake.NewClientset(running("owned", false), running("bare", true), running("redirected", false))
			// The fake makes no names of generateName.
			client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
				return true, a.(clienttesting.CreateAction).GetObject(), nil
			})
			if c.forbidden {
				client.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "owned", nil)
				})
			}
			w := &Watcher{Client: client, Node: "n", RecordDir: t.TempDir(), Delete: c.remove, Log: logr.Discard()}
			if err := os.WriteFile(filepath.Join(w.RecordDir, "redirected"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := w.Look(t.Context()); (err != nil) != c.fails {
					t.Fatalf("look: %v", err)
				}
			}
			if got := names(t, client); cmp.Diff(c.left, got) != "" {
				t.Errorf("pods %v, want %v", got, c.left)
			}
			if got, want := events(t, client), map[string]int{"owned": 1, "bare": 1}; cmp.Diff(want, got) != "" {
				t.Errorf("events %v, want %v", got, want)
			}
		})
	}
}

func names(t *testing.T, client *fake.Clientset) []string {
	t.Helper()
	list, err := client.CoreV1().Pods("ns").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range list.Items {
		out = append(out, p.Name)
	}
	return out
}

// events counts the events NotRedirected by pod.
func events(t *testing.T, client *fake.Clientset) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, a := range client.Actions() {
		if create, ok := a.(clienttesting.CreateAction); ok && a.GetResource().Resource == "events" {
			fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(create.GetObject())
			if err != nil {
				t.Fatal(err)
			}
			out[fields["regarding"].(map[string]any)["name"].(string)]++
		}
	}
	return out
}

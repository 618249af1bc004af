package webhook

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/cli"
	injectwebhook "github.com/aftermesh/aftermesh/pkg/inject/webhook"
	"github.com/aftermesh/aftermesh/test/injection"
)

// TestEveryAnnotationLabelAndFlag tries all cases of package injection through a real API server and the webhook.
func TestEveryAnnotationLabelAndFlag(t *testing.T) {
	env := start(t)
	c := env.injecting(t)
	var results []injection.Result
	for _, group := range injection.Groups(injection.Cases()) {
		env.configure(t, c, group.Flags)
		for _, one := range group.Cases {
			t.Run(one.Name(), func(t *testing.T) {
				differences := c.Try(t.Context(), one)
				for _, d := range differences {
					t.Error(d)
				}
				results = append(results, injection.Result{Case: one, Differences: differences})
			})
		}
	}
	t.Log(injection.Summarize(results))
	t.Run("and fails without the flag that it is about", func(t *testing.T) { env.everyFlagHasAnEffect(t, c) })
}

// everyFlagHasAnEffect takes from every case about a flag that flag: a case that holds without it says nothing about it.
func (e *environment) everyFlagHasAnEffect(t *testing.T, c *injection.Cluster) {
	shown := map[string]bool{}
	for _, one := range injection.Cases() {
		if without, ok := one.Without(); ok {
			e.configure(t, c, without.Flags)
			shown[one.Key] = shown[one.Key] || len(c.Try(t.Context(), without)) > 0
		}
	}
	for _, flag := range injection.Flags {
		if !shown[flag] {
			t.Errorf("no case shows an effect of %s", flag)
		}
	}
}

// injecting sends pods to the webhook too, and creates what the cases meet.
func (e *environment) injecting(t *testing.T) *injection.Cluster {
	t.Helper()
	c := e.cluster(t)
	e.configure(t, c, nil)
	hooks := &unstructured.Unstructured{}
	hooks.SetAPIVersion("admissionregistration.k8s.io/v1")
	hooks.SetKind("MutatingWebhookConfiguration")
	if err := e.client.Get(t.Context(), client.ObjectKey{Name: "aftermesh-mutating-webhook-configuration"}, hooks); err != nil {
		t.Fatal(err)
	}
	list, _, _ := unstructured.NestedSlice(hooks.Object, "webhooks")
	for _, hook := range list {
		if hook := hook.(map[string]any); hook["name"] == "mpod.appmesh.k8s.aws" {
			hook["clientConfig"] = map[string]any{"url": e.url + injectwebhook.Path, "caBundle": e.ca}
		}
	}
	hooks.Object["webhooks"] = list
	if err := e.client.Update(t.Context(), hooks); err != nil {
		t.Fatal(err)
	}
	// The operator's namespace, as it is installed.
	e.install(t, filepath.Join(config, "manager", "namespace.yaml"), func(object *unstructured.Unstructured) {
		labels := object.GetLabels()
		labels[meshv1beta2.LabelInject] = "enabled"
		object.SetLabels(labels)
	})
	e.account(t, injection.OperatorNamespace)
	objects, err := injection.Objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if err := e.client.Create(t.Context(), object); err != nil {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
		if object.GetKind() == "Namespace" {
			e.account(t, object.GetName())
		}
	}
	e.await(t, "pods are injected", func() error {
		if differences := c.Try(t.Context(), injection.Cases()[0]); len(differences) > 0 {
			return errors.New(strings.Join(differences, "\n"))
		}
		return nil
	})
	return c
}

// account makes the service account that pods of a namespace need, as a controller of a whole cluster would.
func (e *environment) account(t *testing.T, namespace string) {
	t.Helper()
	if err := e.client.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: namespace}}); err != nil {
		t.Fatal(err)
	}
}

// cluster is what the cases are told about the bare API server and the webhook in this process.
func (e *environment) cluster(t *testing.T) *injection.Cluster {
	t.Helper()
	return &injection.Cluster{
		Client: e.client, Warnings: &e.warnings,
		Version: "v0", Kubernetes: "v1.99.0", API: "10.73.0.1", Service: "10.73.0.2", Image: "aftermesh/aftermesh:test",
	}
}

// configure gives the webhook the settings of an operator with these flags, and what that would learn from its cluster.
func (e *environment) configure(t *testing.T, c *injection.Cluster, flags []string) {
	t.Helper()
	s, err := cli.InjectConfig(flags)
	if err != nil {
		t.Fatal(err)
	}
	s.Version, s.KubernetesVersion, s.KubernetesAPI = c.Version, c.Kubernetes, []string{c.API}
	s.ControlPlane.CA, s.ControlPlane.ClusterIP = "root", c.Service
	if s.InitImage == "" {
		s.InitImage = c.Image
	}
	e.inject.Store(&s)
}

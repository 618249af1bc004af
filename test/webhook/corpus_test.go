package webhook

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// corpusCase is the part of a case's expect.yaml that needs no proxy.
type corpusCase struct {
	Case       string
	Controller struct{ IPFamily string }
	Resources  []struct{ Kind, Namespace, Name, AWSName string }
	Steps      []corpusStep
}

type corpusStep struct {
	Name           string
	Delete         []struct{ Kind, Namespace, Name string }
	Apply          []string
	LabelNamespace *struct {
		Namespace string
		Labels    map[string]string
	}
	Patch []struct {
		Kind, Namespace, Name, Type string
		Patch                       json.RawMessage
	}
	Checks []corpusCheck
}

type corpusCheck struct {
	Kind, File, Object, Path string
	As                       map[string]any
	Expect                   json.RawMessage
}

// expectation is what checks of the kinds admission and field expect.
type expectation struct {
	Accepted            bool
	By, MessageContains string
	Equals              any
	Absent              bool
}

func (c corpusCheck) expectation(t *testing.T) (e expectation) {
	t.Helper()
	if err := json.Unmarshal(c.Expect, &e); err != nil {
		t.Fatalf("check of %s: %v", c.Object, err)
	}
	return e
}

// admissionFields are those that admission decides.
var admissionFields = []string{"spec.awsName", "spec.meshRef.name", "spec.virtualGatewayRef.name", "spec.meshServiceDiscovery", "spec.meshServiceDiscovery.ipPreference"}

// groupVersion is that of our kinds.
var groupVersion = meshv1beta2.GroupVersion.String()

// TestCorpus takes every App Mesh object of every case of the corpus through a real API server, and makes all admission checks
// and the checks of fields that admission fills in.
func TestCorpus(t *testing.T) {
	folder := os.Getenv("CORPUS")
	if folder == "" {
		t.Skip("SKIPPED: the corpus was NOT tried; name its folder in the environment variable CORPUS")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*", "expect.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	env := start(t)
	made := 0
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			run := &corpusRun{environment: env, folder: filepath.Dir(file)}
			if err := sigsyaml.Unmarshal(data, &run.corpusCase); err != nil {
				t.Fatal(err)
			}
			run.clear(t)
			run.steps(t)
			made += run.checks
		})
	}
	t.Logf("%d checks in %d cases", made, len(files))
	if made == 0 {
		t.Error("no check was made")
	}
}

// corpusRun is one run of one case.
type corpusRun struct {
	*environment
	corpusCase
	folder string
	checks int
}

// clear removes all objects of other cases. Namespaces stay, since nothing here would end them, but lose their labels.
func (r *corpusRun) clear(t *testing.T) {
	t.Helper()
	r.families = map[string]string{"ipv6": "6"}[r.Controller.IPFamily]
	for _, kind := range []string{"GatewayRoute", "BackendGroup", "VirtualService", "VirtualRouter", "VirtualNode", "VirtualGateway", "Mesh", "Namespace"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(groupVersion)
		if kind == "Namespace" {
			list.SetAPIVersion("v1")
		}
		list.SetKind(kind + "List")
		if err := r.client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			object := &list.Items[i]
			if kind != "Namespace" {
				if err := r.client.Delete(t.Context(), object); err != nil {
					t.Fatal(err)
				}
				continue
			}
			object.SetLabels(nil)
			object.SetManagedFields([]metav1.ManagedFieldsEntry{{}})
			if err := r.client.Update(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.await(t, "the cache is empty", func() error {
		var meshes meshv1beta2.MeshList
		if err := r.informers.List(t.Context(), &meshes); err != nil {
			return err
		}
		if len(meshes.Items) > 0 {
			return fmt.Errorf("%d meshes are left", len(meshes.Items))
		}
		return nil
	})
}

func (r *corpusRun) steps(t *testing.T) {
	for _, step := range r.Steps {
		for _, d := range step.Delete {
			if object := r.reference(d.Kind, d.Namespace, d.Name); object != nil {
				if err := r.client.Delete(t.Context(), object); err != nil && !apierrors.IsNotFound(err) {
					t.Fatalf("step %s: %v", step.Name, err)
				}
			}
		}
		for _, file := range step.Apply {
			r.apply(t, step, file)
		}
		if l := step.LabelNamespace; l != nil {
			patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"labels": l.Labels}})
			if err := r.client.Patch(t.Context(), r.reference("Namespace", "", l.Namespace), merge(string(patch))); err != nil {
				t.Fatalf("step %s: %v", step.Name, err)
			}
			r.awaitLabels(t, l.Namespace, l.Labels)
		}
		for _, p := range step.Patch {
			if object := r.reference(p.Kind, p.Namespace, p.Name); object != nil {
				kind := map[string]types.PatchType{"json": types.JSONPatchType, "merge": types.MergePatchType}[p.Type]
				if err := r.client.Patch(t.Context(), object, client.RawPatch(kind, p.Patch)); err != nil {
					t.Errorf("step %s: patch %s %s: %v", step.Name, p.Kind, p.Name, err)
				}
			}
		}
		for _, check := range step.Checks {
			switch {
			case check.Kind == "admission":
				r.checks++
				r.admission(t, step, check)
			case check.Kind == "field" && slices.Contains(admissionFields, check.Path):
				r.checks++
				r.field(t, step, check)
			}
		}
	}
}

// awaitLabels waits until the webhooks' cache has seen the labels of a namespace: a cached yes is believed.
func (r *corpusRun) awaitLabels(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	r.await(t, "the cache has seen the labels", func() error {
		namespace := r.reference("Namespace", "", name)
		if err := r.informers.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil {
			return err
		}
		for key, value := range labels {
			if namespace.GetLabels()[key] != value {
				return fmt.Errorf("label %s is %q", key, namespace.GetLabels()[key])
			}
		}
		return nil
	})
}

// reference is an object of one of our kinds or a Namespace, with its name only; nil for other kinds.
func (r *corpusRun) reference(kind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	switch kind {
	case "Namespace":
		object.SetAPIVersion("v1")
	case "Mesh", "VirtualNode", "VirtualService", "VirtualRouter", "Route", "VirtualGateway", "GatewayRoute", "BackendGroup":
		object.SetAPIVersion(groupVersion)
	default:
		return nil
	}
	return object
}

// apply applies the objects of a file that concern us, namespaces and meshes first as kubectl's users do.
func (r *corpusRun) apply(t *testing.T, step corpusStep, file string) {
	t.Helper()
	for _, object := range read(t, filepath.Join(r.folder, file)) {
		if r.reference(object.GetKind(), "", "") == nil {
			continue
		}
		r.namespace(t, object)
		err := r.put(t, object)
		if err != nil && !r.mayFail(t, step, object) {
			t.Errorf("step %s: %s %s/%s of %s is refused: %v", step.Name, object.GetKind(), object.GetNamespace(), object.GetName(), file, err)
		}
	}
}

// namespace makes sure that the object's namespace exists.
func (r *corpusRun) namespace(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if object.GetKind() == "Namespace" || object.GetKind() == "Mesh" {
		return
	}
	if object.GetNamespace() == "" {
		object.SetNamespace("default")
	}
	namespace := r.reference("Namespace", "", object.GetNamespace())
	if err := r.client.Create(t.Context(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (r *corpusRun) put(t *testing.T, object *unstructured.Unstructured) error {
	return r.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object.DeepCopy()), client.ForceOwnership, client.FieldOwner("corpus"))
}

// mayFail says whether a check of the step expects the object to be refused.
func (r *corpusRun) mayFail(t *testing.T, step corpusStep, object *unstructured.Unstructured) bool {
	for _, check := range step.Checks {
		if check.Kind == "admission" && !check.expectation(t).Accepted && matches(check.Object, object) {
			return true
		}
	}
	return false
}

// matches compares "Kind/namespace/name" with an object.
func matches(name string, object *unstructured.Unstructured) bool {
	namespace := object.GetNamespace()
	if object.GetKind() == "Mesh" {
		namespace = ""
	}
	return name == object.GetKind()+"/"+namespace+"/"+object.GetName()
}

// admission applies one object alone.
func (r *corpusRun) admission(t *testing.T, step corpusStep, check corpusCheck) {
	t.Helper()
	var object *unstructured.Unstructured
	for _, candidate := range read(t, filepath.Join(r.folder, check.File)) {
		if check.As != nil {
			candidate = merged(t, candidate, check.As)
		}
		if candidate.GetNamespace() == "" && candidate.GetKind() != "Mesh" {
			candidate.SetNamespace("default")
		}
		if matches(check.Object, candidate) {
			object = candidate
		}
	}
	if object == nil {
		t.Fatalf("step %s: %s has no %s", step.Name, check.File, check.Object)
	}
	r.namespace(t, object)
	want, err := check.expectation(t), r.put(t, object)
	if want.Accepted {
		if err != nil {
			t.Errorf("step %s: %s must be accepted: %v", step.Name, check.Object, err)
		}
		return
	}
	byWebhook := err != nil && strings.Contains(err.Error(), "admission webhook")
	if err == nil || byWebhook != (want.By == "webhook") || !strings.Contains(err.Error(), want.MessageContains) {
		t.Errorf("step %s: %s must be refused by %s with %q: %v", step.Name, check.Object, want.By, want.MessageContains, err)
	}
}

// merged applies a merge patch to an object.
func merged(t *testing.T, object *unstructured.Unstructured, patch map[string]any) *unstructured.Unstructured {
	t.Helper()
	before, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	change, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := jsonpatch.MergePatch(before, change)
	if err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(after); err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *corpusRun) field(t *testing.T, step corpusStep, check corpusCheck) {
	t.Helper()
	parts := strings.Split(check.Object, "/")
	object := r.reference(parts[0], parts[1], parts[2])
	if err := r.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Errorf("step %s: %v", step.Name, err)
		return
	}
	got, found, _ := unstructured.NestedFieldNoCopy(object.Object, strings.Split(check.Path, ".")...)
	if want := check.expectation(t); want.Absent && !found {
		return
	}
	if want := check.expectation(t).Equals; got != want {
		t.Errorf("step %s: %s of %s is %v, want %v", step.Name, check.Path, check.Object, got, want)
	}
}

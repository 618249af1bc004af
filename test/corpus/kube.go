package corpus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// kube talks to the cluster as kubectl does.
type kube struct {
	config  *rest.Config
	dynamic dynamic.Interface
	typed   kubernetes.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

// manager is the field manager of applied objects.
const manager = "corpus"

func newKube(cfg *rest.Config) (*kube, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = 100, 200
	cfg.WarningHandler = rest.NoWarnings{}
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	k, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &kube{config: cfg, dynamic: d, typed: k, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, nil
}

// resource returns the client for objects of a kind.
func (k *kube) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		k.mapper.Reset()
		m, err = k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return k.dynamic.Resource(m.Resource), nil
	}
	return k.dynamic.Resource(m.Resource).Namespace(namespace), nil
}

// kindGroups finds the group and version of the kinds that steps and checks name without one.
var kindGroups = map[string]schema.GroupVersion{
	"Deployment": {Group: "apps", Version: "v1"}, "Rollout": {Group: "argoproj.io", Version: "v1alpha1"},
	"Namespace": {Version: "v1"}, "Service": {Version: "v1"}, "Pod": {Version: "v1"}, "Secret": {Version: "v1"},
	"MeshSettings": {Group: "aftermesh.dev", Version: "v1alpha1"}, "ConfigMap": {Version: "v1"}, "ServiceAccount": {Version: "v1"}, "StatefulSet": {Group: "apps", Version: "v1"},
}

func (k *kube) byKind(kind, namespace string) (dynamic.ResourceInterface, error) {
	gv, ok := kindGroups[kind]
	if !ok {
		gv = schema.GroupVersion{Group: "appmesh.k8s.aws", Version: "v1beta2"}
	}
	return k.resource(gv.WithKind(kind), namespace)
}

// documents reads the objects of a manifest.
func documents(file string) ([]*unstructured.Unstructured, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	dec := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
	var out []*unstructured.Unstructured
	for {
		u := &unstructured.Unstructured{}
		if err := dec.Decode(&u.Object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// apply creates or changes one object on the server's side. If that was being deleted, u has its deletion time afterwards.
func (k *kube) apply(ctx context.Context, u *unstructured.Unstructured, o metav1.PatchOptions) error {
	r, err := k.resource(u.GroupVersionKind(), u.GetNamespace())
	if err != nil {
		return err
	}
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	force := true
	o.FieldManager, o.Force = manager, &force
	o.FieldValidation = cmp.Or(o.FieldValidation, metav1.FieldValidationStrict)
	got, err := r.Patch(ctx, u.GetName(), types.ApplyPatchType, b, o)
	if err == nil {
		u.SetDeletionTimestamp(got.GetDeletionTimestamp())
	}
	return err
}

// applyAsClient creates or patches one object as kubectl apply does, so that the API server judges unknown fields: it does not for
// objects applied on its side.
func (k *kube) applyAsClient(ctx context.Context, u *unstructured.Unstructured, o metav1.PatchOptions) error {
	r, err := k.resource(u.GroupVersionKind(), u.GetNamespace())
	if err != nil {
		return err
	}
	_, err = r.Create(ctx, u, metav1.CreateOptions{FieldManager: manager, FieldValidation: o.FieldValidation, DryRun: o.DryRun})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	o.FieldManager = manager
	_, err = r.Patch(ctx, u.GetName(), types.MergePatchType, b, o)
	return err
}

// patch changes one object.
func (k *kube) patch(ctx context.Context, r Ref, kind types.PatchType, validation string, body any) error {
	c, err := k.byKind(r.Kind, r.Namespace)
	if err != nil {
		return err
	}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if _, err := c.Patch(ctx, r.Name, kind, b, metav1.PatchOptions{FieldManager: manager, FieldValidation: validation}); err != nil {
		return fmt.Errorf("patch %s %s/%s: %w", r.Kind, r.Namespace, r.Name, err)
	}
	return nil
}

// restart replaces the pods of a Deployment.
func (k *kube) restart(ctx context.Context, namespace, name string) error {
	body := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339Nano)},
	}}}}
	return k.patch(ctx, Ref{"Deployment", namespace, name}, types.MergePatchType, metav1.FieldValidationStrict, body)
}

// rolledOut is nil when a Deployment runs its present template everywhere.
func (k *kube) rolledOut(ctx context.Context, namespace, name string) error {
	d, err := k.typed.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want {
		return fmt.Errorf("deployment %s/%s: %d of %d updated, %d available, %d in all", namespace, name, s.UpdatedReplicas, want, s.AvailableReplicas, s.Replicas)
	}
	return nil
}

// pods returns the running pods of a Deployment's present template, the oldest first.
func (k *kube) pods(ctx context.Context, namespace, deployment string) ([]corev1.Pod, error) {
	d, err := k.typed.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	sel, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, err
	}
	list, err := k.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: sel.String()})
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" || !strings.HasPrefix(p.Name, deployment+"-")
	})
	slices.SortFunc(out, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	if len(out) == 0 {
		return nil, fmt.Errorf("deployment %s/%s has no running pod", namespace, deployment)
	}
	return out, nil
}

// notYet is a part of the format that this runner does not know yet: what needs it has failed, and waiting does not help.
type notYet string

// Error names the part.
func (n notYet) Error() string { return string(n) + ": not supported yet" }

// wait polls until ok returns nil, or the deadline passes; the last error is returned.
func wait(ctx context.Context, limit time.Duration, ok func() error) error {
	const pause = 200 * time.Millisecond
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil || errors.As(err, new(notYet)) {
			return err
		}
		time.Sleep(pause)
	}
}

// remove deletes an object without waiting; that it is gone already is fine.
func (k *kube) remove(ctx context.Context, r Ref) error {
	c, err := k.byKind(r.Kind, r.Namespace)
	if err != nil {
		return err
	}
	if err := c.Delete(ctx, r.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

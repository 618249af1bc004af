package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// states of pods that a restart would change.
const (
	stateOutside  = "Outside"
	stateOutdated = "Outdated"
)

// owner is what a pod's life depends on: a Deployment, StatefulSet, DaemonSet, Job, an Argo Rollout, or the pod itself.
type owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

func (o owner) String() string { return strings.ToLower(o.Kind) + "/" + o.Name }

// finding is a pod that should have another proxy, or one at all.
type finding struct {
	Pod   string `json:"pod"`
	Owner owner  `json:"owner"`
	State string `json:"state"`
	// Why says what the difference is.
	Why string `json:"why"`
}

// survey compares running pods with what the webhook would make of them now. It asks the API server itself, by a creation that
// is only tried (dry run), once per owner; so it knows no more and no less than the webhook.
type survey struct {
	client client.Client
	owners map[types2]owner
	wanted map[owner]verdict
}

// types2 names an object of a kind.
type types2 struct{ kind, namespace, name string }

// verdict is what the webhook says about the pods of an owner.
type verdict struct {
	status inject.Status
	// injected is false if the webhook would leave the pod alone; refused has its words if it denies it.
	injected bool
	refused  string
}

// pods returns the findings of a namespace, or of all if it is empty, sorted by namespace, owner and pod.
func (s *survey) pods(ctx context.Context, namespace string) ([]finding, error) {
	s.owners, s.wanted = map[types2]owner{}, map[owner]verdict{}
	var namespaces corev1.NamespaceList
	if err := s.client.List(ctx, &namespaces); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var out []finding
	for _, ns := range namespaces.Items {
		if _, meshed := ns.Labels[meshv1beta2.LabelInject]; !meshed || namespace != "" && ns.Name != namespace {
			continue
		}
		var pods corev1.PodList
		if err := s.client.List(ctx, &pods, client.InNamespace(ns.Name)); err != nil {
			return nil, fmt.Errorf("list pods of namespace %s: %w", ns.Name, err)
		}
		for i := range pods.Items {
			f, err := s.judge(ctx, &pods.Items[i])
			if err != nil {
				return nil, err
			}
			if f != nil {
				out = append(out, *f)
			}
		}
	}
	slices.SortFunc(out, func(x, y finding) int {
		return cmp.Or(cmp.Compare(x.Owner.Namespace, y.Owner.Namespace), cmp.Compare(x.Owner.String(), y.Owner.String()), cmp.Compare(x.Pod, y.Pod))
	})
	return out, nil
}

// judge returns nil for pods that are as they should be, and for those that are on their way out.
func (s *survey) judge(ctx context.Context, pod *corev1.Pod) (*finding, error) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil, nil
	}
	of, err := s.ownerOf(ctx, pod)
	if err != nil {
		return nil, err
	}
	want, known := s.wanted[of]
	if !known {
		if want, err = s.ask(ctx, pod); err != nil {
			return nil, fmt.Errorf("ask the webhook about pods of %s in namespace %s: %w", of, pod.Namespace, err)
		}
		s.wanted[of] = want
	}
	has, injected := inject.ReadStatus(pod)
	f := &finding{Pod: pod.Name, Owner: of, State: stateOutdated}
	switch {
	case !injected && want.refused != "" && !inject.Exempt(pod):
		f.State, f.Why = stateOutside, "the webhook would refuse it: "+want.refused
	case !injected && want.injected:
		f.State, f.Why = stateOutside, "it was made without a proxy; the webhook would inject it as "+want.status.Node
	case injected && want.injected && has != want.status:
		f.Why = difference(has, want.status)
	default:
		return nil, nil
	}
	return f, nil
}

// difference says what a new pod would have otherwise.
func difference(has, want inject.Status) string {
	switch {
	case has.ControlPlaneCA != want.ControlPlaneCA:
		return "it trusts an older root of the control plane"
	case has.Node != want.Node:
		return fmt.Sprintf("it runs as %s, a new one would run as %s", has.Node, want.Node)
	case has.Version != want.Version:
		return fmt.Sprintf("it was injected by %s, the operator is %s", has.Version, want.Version)
	default:
		return "image, arguments or variables of its proxy have changed since"
	}
}

// ask tries to create a pod of the same owner again.
func (s *survey) ask(ctx context.Context, pod *corev1.Pod) (verdict, error) {
	try, err := s.template(ctx, pod)
	if err != nil {
		return verdict{}, err
	}
	err = s.client.Create(ctx, try, client.DryRunAll)
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "admission webhook"):
		_, words, _ := strings.Cut(err.Error(), "denied the request: ")
		return verdict{refused: words}, nil
	case err != nil:
		return verdict{}, err
	}
	status, injected := inject.ReadStatus(try)
	return verdict{status: status, injected: injected}, nil
}

// template is a pod as its owner would make it now; one without an owner is taken as it is, without its proxy.
func (s *survey) template(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, GenerateName: "aftermesh-check-"}}
	c := metav1.GetControllerOf(pod)
	if c == nil {
		return s.bare(pod, out), nil
	}
	var u unstructured.Unstructured
	u.SetGroupVersionKind(schema.FromAPIVersionAndKind(c.APIVersion, c.Kind))
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: c.Name}, &u); err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return s.bare(pod, out), nil
		}
		return nil, fmt.Errorf("read %s %s/%s: %w", c.Kind, pod.Namespace, c.Name, err)
	}
	content, found, err := unstructured.NestedMap(u.Object, "spec", "template")
	if err != nil || !found {
		return s.bare(pod, out), nil
	}
	var t corev1.PodTemplateSpec
	if err := fromUnstructured(content, &t); err != nil {
		return nil, fmt.Errorf("%s %s/%s: spec.template: %w", c.Kind, pod.Namespace, c.Name, err)
	}
	out.Labels, out.Annotations, out.Spec = t.Labels, t.Annotations, t.Spec
	return out, nil
}

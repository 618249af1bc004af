package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// states of pods that a restart would change.
const (
	stateOutside  = "Outside"
	stateOutdated = "Outdated"
	stateUnknown  = "Unknown"
)

// owner is what a pod's life depends on: a Deployment, StatefulSet, DaemonSet, Job, an Argo Rollout, or the pod itself.
type owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

func (o owner) String() string { return strings.ToLower(o.Kind) + "/" + o.Name }

// stray is a pod that should have another proxy, or one at all.
type stray struct {
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
	// direct are the owners that pods name themselves, by UID, with what the webhook says about their pods.
	direct map[types.UID]*judgement
}

// judgement is what is known about the pods of one owner.
type judgement struct {
	// owner is the top of the chain: the Deployment of a ReplicaSet.
	owner owner
	// want is the injection that the webhook would make; injected is false if it would leave the pod alone.
	want     inject.Status
	injected bool
	// refused has the webhook's words if it denies the pod, failed those of whatever else went wrong.
	refused, failed string
}

// pods returns the strays of a namespace, or of all if it is empty, sorted by namespace, owner and pod. Injected pods that
// nothing owns are not judged: what they were made from is not known any more.
func (s *survey) pods(ctx context.Context, namespace string) ([]stray, error) {
	s.direct = map[types.UID]*judgement{}
	var namespaces corev1.NamespaceList
	if err := s.client.List(ctx, &namespaces); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var out []stray
	for _, ns := range namespaces.Items {
		if _, meshed := ns.Labels[meshv1beta2.LabelInject]; !meshed || namespace != "" && ns.Name != namespace {
			continue
		}
		var pods corev1.PodList
		if err := s.client.List(ctx, &pods, client.InNamespace(ns.Name)); err != nil {
			return nil, fmt.Errorf("list pods of namespace %s: %w", ns.Name, err)
		}
		for i := range pods.Items {
			if f := s.judge(ctx, &pods.Items[i]); f != nil {
				out = append(out, *f)
			}
		}
	}
	slices.SortFunc(out, func(x, y stray) int {
		return cmp.Or(cmp.Compare(x.Owner.Namespace, y.Owner.Namespace), cmp.Compare(x.Owner.String(), y.Owner.String()), cmp.Compare(x.State, y.State), cmp.Compare(x.Pod, y.Pod))
	})
	return out, nil
}

// judge returns nil for pods that are as they should be, and for those that are on their way out.
func (s *survey) judge(ctx context.Context, pod *corev1.Pod) *stray {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	has, injected := inject.ReadStatus(pod)
	if !injected && inject.Exempt(pod) {
		return nil
	}
	id, c := pod.UID, metav1.GetControllerOf(pod)
	if c != nil {
		id = c.UID
	} else if injected {
		return nil
	}
	j := s.direct[id]
	if j == nil {
		j = s.ask(ctx, pod, c)
		s.direct[id] = j
	}
	f := &stray{Pod: pod.Name, Owner: j.owner, State: stateOutside}
	switch {
	case j.failed != "":
		f.State, f.Why = stateUnknown, j.failed
	case !injected && j.refused != "":
		f.Why = "it runs without a proxy; the webhook would refuse it: " + j.refused
	case !injected && j.injected:
		f.Why = "it runs without a proxy; the webhook would inject it as " + j.want.Node
	case injected && j.injected && !has.SameProxy(j.want):
		f.State, f.Why = stateOutdated, difference(has, j.want)
	default:
		return nil
	}
	return f
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
func (s *survey) ask(ctx context.Context, pod *corev1.Pod, c *metav1.OwnerReference) *judgement {
	j := &judgement{owner: owner{"v1", "Pod", pod.Namespace, pod.Name}}
	try := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec}
	if c != nil {
		t, err := s.template(ctx, pod.Namespace, c, j)
		if err != nil {
			j.failed = err.Error()
			return j
		}
		try = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: t.Labels, Annotations: t.Annotations}, Spec: t.Spec}
	}
	try.Namespace, try.GenerateName = pod.Namespace, "aftermesh-check-"
	try.Spec.NodeName = ""
	err := s.client.Create(ctx, try, client.DryRunAll)
	_, words, denied := strings.Cut(fmt.Sprint(err), "denied the request: ")
	switch {
	case err == nil:
		j.want, j.injected = inject.ReadStatus(try)
	case apierrors.IsForbidden(err) && denied:
		j.refused = words
	default:
		j.failed = fmt.Sprintf("a pod cannot even be tried: %v", err)
	}
	return j
}

// template is what the controller of a pod makes pods from. It notes the owner: the controller, or the controller of a ReplicaSet.
func (s *survey) template(ctx context.Context, namespace string, c *metav1.OwnerReference, j *judgement) (*corev1.PodTemplateSpec, error) {
	j.owner = owner{c.APIVersion, c.Kind, namespace, c.Name}
	var u unstructured.Unstructured
	u.SetGroupVersionKind(schema.FromAPIVersionAndKind(c.APIVersion, c.Kind))
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: c.Name}, &u); err != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", c.Kind, namespace, c.Name, err)
	}
	if up := metav1.GetControllerOf(&u); up != nil && c.Kind == "ReplicaSet" {
		j.owner = owner{up.APIVersion, up.Kind, namespace, up.Name}
	}
	content, found, err := unstructured.NestedMap(u.Object, "spec", "template")
	if err != nil || !found {
		return nil, fmt.Errorf("%s %s/%s has no spec.template", c.Kind, namespace, c.Name)
	}
	t := &corev1.PodTemplateSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, t); err != nil {
		return nil, fmt.Errorf("%s %s/%s: spec.template: %w", c.Kind, namespace, c.Name, err)
	}
	return t, nil
}

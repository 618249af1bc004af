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

// podFinding is a pod that should have another proxy, or one at all.
type podFinding struct {
	Pod   string `json:"pod"`
	Owner owner  `json:"owner"`
	State string `json:"state"`
	// Why says what the difference is.
	Why string `json:"why"`
}

// audit compares running pods with what the webhook would make of them now. It asks the API server itself, by a creation that
// is only tried (dry run), once per owner; so it knows no more and no less than the webhook.
type audit struct {
	client client.Client
	// direct are the owners that pods name themselves, by UID, with what the webhook says about their pods.
	direct map[types.UID]*verdict
	// objects are what the webhook decides by, by namespace.
	objects map[string]inject.Objects
}

// verdict is what is known about the pods of one owner.
type verdict struct {
	// owner is the top of the chain: the Deployment of a ReplicaSet.
	owner owner
	// want is the injection that the webhook would make; injected is false if it would leave the pod alone.
	want     inject.Status
	injected bool
	// refused has the webhook's words if it denies the pod, failed those of whatever else went wrong.
	refused, failed string
}

// pods returns the strays of a namespace, or of all if it is empty, sorted by namespace, owner and pod. Of injected pods that
// nothing owns only what listeners refuse is judged: what they were made from is not known any more.
func (s *audit) pods(ctx context.Context, namespace string) ([]podFinding, error) {
	s.direct, s.objects = map[types.UID]*verdict{}, map[string]inject.Objects{}
	var namespaces corev1.NamespaceList
	if err := s.client.List(ctx, &namespaces); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var out []podFinding
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
	slices.SortFunc(out, func(x, y podFinding) int {
		return cmp.Or(cmp.Compare(x.Owner.Namespace, y.Owner.Namespace), cmp.Compare(x.Owner.String(), y.Owner.String()), cmp.Compare(x.State, y.State), cmp.Compare(x.Pod, y.Pod))
	})
	return out, nil
}

// judge returns nil for pods that are as they should be, and for those that are on their way out.
func (s *audit) judge(ctx context.Context, pod *corev1.Pod) *podFinding {
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
		return s.unowned(ctx, pod)
	}
	j := s.direct[id]
	if j == nil {
		j = s.ask(ctx, pod, c)
		s.direct[id] = j
	}
	f := &podFinding{Pod: pod.Name, Owner: j.owner, State: stateOutside}
	switch {
	case j.failed != "":
		f.State, f.Why = stateUnknown, j.failed
	case !injected && j.refused != "":
		f.Why = "it runs without a proxy; the webhook would refuse it: " + j.refused
	case !injected && j.injected:
		f.Why = "it runs without a proxy; the webhook would inject it as " + j.want.Node
	case injected && j.injected && !has.SameProxy(j.want):
		f.State, f.Why = stateOutdated, difference(has, j.want)
		list, err := s.refused(ctx, pod)
		if err != nil {
			f.State, f.Why = stateUnknown, err.Error()
		} else if list = slices.DeleteFunc(list, func(a inject.Asked) bool { return !j.want.Rewrote(a) }); len(list) > 0 {
			f.Why = refusal(list)
		}
	default:
		return nil
	}
	return f
}

// unowned judges an injected pod that nothing would recreate.
func (s *audit) unowned(ctx context.Context, pod *corev1.Pod) *podFinding {
	f := &podFinding{Pod: pod.Name, Owner: owner{"v1", "Pod", pod.Namespace, pod.Name}, State: stateOutdated}
	list, err := s.refused(ctx, pod)
	switch {
	case err != nil:
		f.State, f.Why = stateUnknown, err.Error()
	case len(list) == 0 || inject.KeepsProbes(pod):
		return nil
	default:
		f.Why = refusal(list)
	}
	return f
}

// refused lists what kubelet and Prometheus probe in an injected pod without effect, because the node that it runs as has become STRICT.
func (s *audit) refused(ctx context.Context, pod *corev1.Pod) ([]inject.Asked, error) {
	if len(inject.AskedPorts(pod)) == 0 {
		return nil, nil
	}
	o, known := s.objects[pod.Namespace]
	if !known {
		var err error
		if o, err = readObjects(ctx, s.client, pod.Namespace); err != nil {
			return nil, err
		}
		s.objects[pod.Namespace] = o
	}
	return refusedNow(pod, o), nil
}

// refusedNow lists what the listeners of the node that selects an injected pod refuse to kubelet and Prometheus.
func refusedNow(pod *corev1.Pod, o inject.Objects) []inject.Asked {
	d := inject.Decide(pod, o)
	if d.Outcome != inject.Injected || d.Target.Node == nil {
		return nil
	}
	return inject.Refused(pod, d.Target.Node)
}

// refusal says what is refused, and how that is avoided another time.
func refusal(list []inject.Asked) string {
	clauses := make([]string, len(list))
	for i, a := range list {
		clauses[i] = a.String()
	}
	return strings.Join(clauses, ", ") + ": the listener is STRICT now and refuses that (" + inTime + ")"
}

// inTime is the advice for the next listener.
const inTime = "before the next listener becomes STRICT, set annotation aftermesh.dev/rewrite-probes to enabled and restart"

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
func (s *audit) ask(ctx context.Context, pod *corev1.Pod, c *metav1.OwnerReference) *verdict {
	j := &verdict{owner: owner{"v1", "Pod", pod.Namespace, pod.Name}}
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
func (s *audit) template(ctx context.Context, namespace string, c *metav1.OwnerReference, j *verdict) (*corev1.PodTemplateSpec, error) {
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

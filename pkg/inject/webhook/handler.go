package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// Path is where the API server asks. Source: App Mesh's webhook configuration.
const Path = "/mutate-v1-pod"

// Handler injects pods. It is safe for concurrent use.
type Handler struct {
	// Cache answers from the operator's informers.
	Cache client.Reader
	// Live answers from the API server.
	Live client.Reader
	// Config returns the settings in force now; the root certificate in them may change while the operator runs.
	Config func() inject.Config
	// Leaving says whether a node that is being deleted takes no new pods any more; nil for never.
	Leaving func(*meshv1beta2.VirtualNode) bool
}

var _ admission.Handler = (*Handler)(nil)

// Handle implements admission.Handler. Anything but the creation of a pod is allowed as it is; an error of ours denies the
// pod, because a pod outside the mesh is worse than a pod that is tried again.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create || req.SubResource != "" {
		return admission.Allowed("")
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(req.Object.Raw, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("decode pod: %w", err))
	}
	answer, err := h.admit(ctx, req.Namespace, pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	log.FromContext(ctx).V(1).Info("Pod admitted", "namespace", req.Namespace, "name", answer.Report.Pod,
		"outcome", answer.Report.Outcome, "reason", answer.Report.Reason)
	switch answer.Report.Outcome {
	case inject.Denied:
		return admission.Denied(answer.Report.Reason).WithWarnings(answer.Report.Warnings...)
	case inject.Injected:
		response, err := patch(pod, answer.Pod)
		if err != nil {
			return admission.Errored(http.StatusInternalServerError, err)
		}
		return response.WithWarnings(answer.Report.Warnings...)
	default:
		return admission.Allowed(answer.Report.Reason).WithWarnings(answer.Report.Warnings...)
	}
}

// admit decides by the cache and, where the cache may be behind, once more by the API server.
func (h *Handler) admit(ctx context.Context, namespace string, pod *corev1.Pod) (inject.Admission, error) {
	config := h.Config()
	objects, err := h.read(ctx, h.Cache, namespace)
	if err == nil {
		var answer inject.Admission
		if answer, err = inject.Admit(pod, objects, config); err != nil || !answer.Unsure {
			return answer, err
		}
	} else if !apierrors.IsNotFound(err) {
		return inject.Admission{}, err
	}
	if objects, err = h.read(ctx, h.Live, namespace); err != nil {
		return inject.Admission{}, err
	}
	return inject.Admit(pod, objects, config)
}

// read collects what the decision about a pod of namespace needs. Lists from a cache are shared and must not be changed.
func (h *Handler) read(ctx context.Context, reader client.Reader, name string) (inject.Objects, error) {
	objects := inject.Objects{Namespace: name}
	var namespace corev1.Namespace
	if err := reader.Get(ctx, types.NamespacedName{Name: name}, &namespace); err != nil {
		return objects, fmt.Errorf("read namespace %s: %w", name, err)
	}
	objects.NamespaceLabels = namespace.Labels
	var nodes meshv1beta2.VirtualNodeList
	if err := reader.List(ctx, &nodes, client.InNamespace(name), client.UnsafeDisableDeepCopy); err != nil {
		return objects, fmt.Errorf("list VirtualNodes of namespace %s: %w", name, err)
	}
	var gateways meshv1beta2.VirtualGatewayList
	if err := reader.List(ctx, &gateways, client.InNamespace(name), client.UnsafeDisableDeepCopy); err != nil {
		return objects, fmt.Errorf("list VirtualGateways of namespace %s: %w", name, err)
	}
	var meshes meshv1beta2.MeshList
	if err := reader.List(ctx, &meshes, client.UnsafeDisableDeepCopy); err != nil {
		return objects, fmt.Errorf("list Meshes: %w", err)
	}
	objects.VirtualNodes, objects.VirtualGateways = pointers(nodes.Items), pointers(gateways.Items)
	if h.Leaving != nil {
		objects.VirtualNodes = slices.DeleteFunc(objects.VirtualNodes, func(n *meshv1beta2.VirtualNode) bool {
			return n.DeletionTimestamp != nil && h.Leaving(n)
		})
	}
	objects.Meshes = pointers(meshes.Items)
	return objects, nil
}

func pointers[T any](items []T) []*T {
	list := make([]*T, len(items))
	for i := range items {
		list[i] = &items[i]
	}
	return list
}

// patch names the difference between the pod as we understood it and as it shall be. The request's own bytes are not
// compared, so that fields unknown to this release are never removed.
func patch(before, after *corev1.Pod) (admission.Response, error) {
	original, err := json.Marshal(before)
	if err != nil {
		return admission.Response{}, fmt.Errorf("encode pod: %w", err)
	}
	current, err := json.Marshal(after)
	if err != nil {
		return admission.Response{}, fmt.Errorf("encode injected pod: %w", err)
	}
	return admission.PatchResponseFromRaw(original, current), nil
}

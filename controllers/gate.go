package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// gates opens the gate of App Mesh, source.CloudMapGate, which Aftermesh puts into no pod: a pod that has it would never be ready if
// nobody opened it. It opens that of pods whose containers are ready. Only the leader does.
type gates struct {
	cached client.Reader
	live   client.Client
	log    logr.Logger
	now    func() time.Time
	// told says that the right is missing, once.
	told sync.Once
}

func (op *operator) openGates(context.Context, *rest.Config) error {
	waits := predicate.NewPredicateFuncs(func(o client.Object) bool {
		p, ok := o.(*corev1.Pod)
		return ok && gateWaits(p)
	})
	return builder.ControllerManagedBy(op.manager).Named("gates").For(&corev1.Pod{}, builder.WithPredicates(waits)).
		// Tests run several operators in one process.
		WithOptions(controller.Options{SkipNameValidation: ptr.To(true)}).
		Complete(&gates{cached: op.manager.GetClient(), live: op.client, log: op.log.WithName("gates"), now: time.Now})
}

// gateWaits is true for a pod that would be ready if its gate were open.
func gateWaits(p *corev1.Pod) bool {
	is := func(t corev1.PodConditionType) bool {
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == t && c.Status == corev1.ConditionTrue })
	}
	return source.HasCloudMapGate(p) && is(corev1.ContainersReady) && !is(source.CloudMapGate)
}

// Reconcile implements reconcile.Reconciler.
func (g *gates) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := g.cached.Get(ctx, request.NamespacedName, &pod); err != nil || !gateWaits(&pod) {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": map[string]any{"conditions": []corev1.PodCondition{{
		Type: source.CloudMapGate, Status: corev1.ConditionTrue, Reason: "ContainersReady", LastTransitionTime: metav1.NewTime(g.now()),
		Message: "there is no Cloud Map: the pod serves as soon as its containers are ready",
	}}}})
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("encode condition: %w", err)
	}
	err = g.live.Status().Patch(ctx, &pod, client.RawPatch(types.StrategicMergePatchType, patch))
	if apierrors.IsForbidden(err) {
		g.told.Do(func() {
			g.log.Error(err, "Pods with App Mesh's readiness gate stay unready until config/gate is applied", "namespace", pod.Namespace, "name", pod.Name)
		})
		return reconcile.Result{RequeueAfter: time.Minute}, nil
	}
	// A pod that is gone, or is another one by now, needs nothing.
	if apierrors.IsConflict(err) {
		err = nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

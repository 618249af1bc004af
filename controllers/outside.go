package controllers

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// watchman tells pods that run outside of the mesh so, by an event each. Only the leader runs it.
type watchman struct {
	recorder events.EventRecorder
	snapshot func() *pipeline.Snapshot
	wake     <-chan struct{}
}

// NeedLeaderElection is true: one event is enough.
func (w *watchman) NeedLeaderElection() bool { return true }

// Start looks at every pass until ctx ends.
func (w *watchman) Start(ctx context.Context) error {
	told := map[string]bool{}
	for {
		if s := w.snapshot(); s != nil {
			told = w.tell(s.Result.Outside, told)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
	}
}

// tell records an event for each pod that was not told before, and returns those that are told now.
func (w *watchman) tell(outside []compile.Outsider, told map[string]bool) map[string]bool {
	now := make(map[string]bool, len(outside))
	for _, x := range outside {
		now[x.Pod.UID] = true
		if told[x.Pod.UID] {
			continue
		}
		who := "its namespace takes part in the mesh"
		if x.Object.Kind != "" {
			who = x.Object.String() + " selects it"
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: x.Pod.Namespace, Name: x.Pod.Name, UID: types.UID(x.Pod.UID)}}
		w.recorder.Eventf(pod, nil, corev1.EventTypeWarning, "OutsideMesh", "Inject",
			"the pod runs without a proxy although %s: it is older than that, or was made while the webhook was not asked; restart it: aftermesh restart -n %s --outside", who, x.Pod.Namespace)
	}
	return now
}

var podsOutside = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "aftermesh_pods_outside", Help: "Pods that run without a proxy although they should have one.",
}, []string{"namespace"})

func countOutside(outside []compile.Outsider) {
	podsOutside.Reset()
	for _, x := range outside {
		podsOutside.WithLabelValues(x.Pod.Namespace).Inc()
	}
}

package controllers

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// podEvents records an event for each pod that runs outside of the mesh, whose probes its listeners refuse, or whose proxy does not
// connect. Only the leader runs it.
type podEvents struct {
	log      logr.Logger
	recorder events.EventRecorder
	snapshot func() *pipeline.Snapshot
	// silent returns the pods whose proxy was started before a time and is connected to no replica.
	silent  func(before time.Time) []*input.Pod
	trigger <-chan struct{}
}

const (
	// connecting is how long a started proxy may take to connect before its pod is reported; usually it takes milliseconds.
	connecting = 15 * time.Second
	// silenceInterval is the time between two looks at that.
	silenceInterval = 5 * time.Second
)

// NeedLeaderElection is true: one event is enough.
func (w *podEvents) NeedLeaderElection() bool { return true }

// Start looks at every pass until ctx ends.
func (w *podEvents) Start(ctx context.Context) error {
	outside, refused, silent := map[string]bool{}, map[string]bool{}, map[string]bool{}
	elected := time.Now()
	tick := time.NewTicker(silenceInterval)
	defer tick.Stop()
	for {
		if s := w.snapshot(); s != nil {
			w.contain().run(func() { outside = w.reportOutside(s.Result.Outside, outside) })
			w.contain().run(func() { refused = w.reportRefused(s.Result.Refused, refused) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.trigger:
		case <-tick.C:
			if time.Since(elected) > connecting {
				w.contain().run(func() { silent = w.reportSilent(w.silent(time.Now().Add(-connecting)), silent) })
			}
		}
	}
}

func (w *podEvents) contain() containment { return containment{w.log, "pods"} }

// reportSilent records an event for each silent pod that was not reported before, and returns those that are silent now. With native sidecars
// the application of such a pod waits for its proxy.
func (w *podEvents) reportSilent(silent []*input.Pod, reported map[string]bool) map[string]bool {
	now := make(map[string]bool, len(silent))
	for _, p := range silent {
		now[p.UID] = true
		if !reported[p.UID] {
			w.recorder.Eventf(eventOf(p), nil, corev1.EventTypeWarning, "ProxyNotConnected", "Serve",
				"the proxy runs for more than %v and is not connected to the control plane; a new pod's application waits for it. Look at: kubectl -n %s logs %s -c %s; a NetworkPolicy must let pods reach the port 15010 of the operator",
				connecting, p.Namespace, p.Name, inject.EnvoyContainer)
		}
	}
	return now
}

func eventOf(p *input.Pod) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)}}
}

// reportOutside records an event for each pod that was not reported before, and returns those that are reported now.
func (w *podEvents) reportOutside(outside []input.Outsider, reported map[string]bool) map[string]bool {
	now := make(map[string]bool, len(outside))
	for _, x := range outside {
		now[x.Pod.UID] = true
		if reported[x.Pod.UID] {
			continue
		}
		who := "its namespace takes part in the mesh"
		if x.Object.Kind != "" {
			who = x.Object.String() + " selects it"
		}
		w.recorder.Eventf(eventOf(x.Pod), nil, corev1.EventTypeWarning, "OutsideMesh", "Inject",
			"the pod runs without a proxy although %s: it was created before that, or while the webhook was unavailable; restart it: aftermesh restart -n %s --outside", who, x.Pod.Namespace)
	}
	return now
}

// reportRefused does the same for pods whose probes their listeners refuse.
func (w *podEvents) reportRefused(refused []input.Refused, reported map[string]bool) map[string]bool {
	now := make(map[string]bool, len(refused))
	for _, x := range refused {
		now[x.Pod.UID] = true
		if reported[x.Pod.UID] {
			continue
		}
		w.recorder.Eventf(eventOf(x.Pod), nil, corev1.EventTypeWarning, meshv1beta2.ReasonProbesRefused, "Serve",
			"kubelet or Prometheus asks port %v in clear text, which a listener of %s, STRICT since the pod was made, refuses; restart it: aftermesh restart -n %s --outdated",
			x.Ports[0], x.Object, x.Pod.Namespace)
	}
	return now
}

var podsOutside = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "aftermesh_pods_outside", Help: "Pods that run without a proxy although they should have one.",
}, []string{"namespace"})

func countOutside(outside []input.Outsider) {
	podsOutside.Reset()
	for _, x := range outside {
		podsOutside.WithLabelValues(x.Pod.Namespace).Inc()
	}
}

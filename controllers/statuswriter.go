package controllers

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/status"
)

// How often statuses are written. A status that flips is written at once; a message that only counts waits, and so does a
// status that may recover by itself within a moment.
const (
	writesPerSecond = 50
	sameObjectPause = time.Second
	wordingPause    = 30 * time.Second
	// settling is how long a condition may be lower than before without being written: proxies acknowledge in milliseconds.
	settling = 400 * time.Millisecond
	// election is how long after taking the lead nothing is lowered: streams may not have found their way to a replica yet.
	election = 30 * time.Second
	// gather merges the acknowledgements of many proxies into one computation, and lets the proxies have the processor first; with
	// much to compute it is gatherFactor times as long as the last one took, at most gatherMost, so that statuses never take
	// more than a quarter of a core.
	gather       = 50 * time.Millisecond
	gatherFactor = 3
	gatherMost   = 300 * time.Millisecond
	// recheck is how long a difference that was put off may wait.
	recheck = 200 * time.Millisecond
)

// statusWriter writes what status computes. Only the leader runs it.
type statusWriter struct {
	client   client.Client
	recorder events.EventRecorder
	log      logr.Logger
	objects  func() *input.Objects
	snapshot func() *pipeline.Snapshot
	proxies  func() map[string]status.ProxyState
	// revised is true when the accepted specification that is served in place of the current one is stored.
	revised  func(uid types.UID, generation int64) bool
	trigger  <-chan struct{}
	arn      status.ARN
	computer status.Computer
	memory   map[mesh.Object]*memory
	budget   int
	refilled time.Time
	elected  time.Time
}

// memory is what the writer knows about one object beyond what is stored in it.
type memory struct {
	uid string
	// settled is the status of which nothing has to be written.
	settled *status.Desired
	// base is the resource version that was patched and stored the result, until the informer has caught up.
	base    string
	stored  meshv1beta2.Object
	written time.Time
	// worded is when a mere change of wording was last written; lowSince when a condition was first seen lower than stored.
	worded, lowSince time.Time
}

// NeedLeaderElection is true: only the leader writes.
func (w *statusWriter) NeedLeaderElection() bool { return true }

// Start writes until ctx ends.
func (w *statusWriter) Start(ctx context.Context) error {
	w.elected, w.refilled, w.budget = time.Now(), time.Now(), writesPerSecond
	w.memory = map[mesh.Object]*memory{}
	w.computer.Panicked = func(o mesh.Object, reason any, stack []byte) { w.contain().tell(reason, stack, about(o)...) }
	for {
		start := time.Now()
		var again bool
		w.contain().run(func() { again = w.pass(ctx) })
		rest := min(max(gather, gatherFactor*time.Since(start)), gatherMost)
		var timer <-chan time.Time
		if again {
			timer = time.After(recheck)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer:
			continue
		case <-w.trigger:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

func (w *statusWriter) contain() containment { return containment{w.log, "status"} }

// pass computes every status and writes those that are due. It is true when some difference was put off.
func (w *statusWriter) pass(ctx context.Context) (again bool) {
	s := w.snapshot()
	if s == nil {
		return true
	}
	now := time.Now()
	in := status.Input{Objects: w.current(w.objects()), Result: s.Result, Introduced: s.Introduced, Proxies: w.proxies(), ARN: w.arn}
	desired := w.computer.Compute(in)
	w.forget(desired)
	for _, d := range desired {
		if s.Generation(d.ID) != d.Object.GetGeneration() {
			again = true // the next pass of the pipeline will know this generation
			continue
		}
		if kept, ok := s.Result.Kept[d.ID]; ok && !w.revised(d.Object.GetUID(), kept) {
			again = true // a restart must not find the condition without what it speaks of
			continue
		}
		m := w.remember(d)
		if m.settled == d {
			continue
		}
		if !w.contain().object(d.ID, func() { again = w.settle(ctx, m, d, now) || again }) {
			m.settled = d // not tried again before something changes
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return again
}

// settle writes the status of one object if it is due. It is true when the difference was put off.
func (w *statusWriter) settle(ctx context.Context, m *memory, d *status.Desired, now time.Time) (again bool) {
	next, change := status.Merge(d, now)
	if change == status.None {
		m.settled, m.lowSince = d, time.Time{}
		return false
	}
	if !w.due(m, d, change, now) {
		return true
	}
	if err := w.write(ctx, m, d, next, now); err != nil {
		if ctx.Err() == nil && !apierrors.IsNotFound(err) {
			w.log.Error(err, "Status not written, trying again", about(d.ID)...)
		}
		again = true
	}
	if change == status.Wording {
		m.worded = now
	}
	return again
}

// current replaces objects by what was last written to them, until the informer shows that itself.
func (w *statusWriter) current(o *input.Objects) *input.Objects {
	return o.Replace(func(obj meshv1beta2.Object) meshv1beta2.Object {
		m := w.memory[input.ID(obj)]
		if m == nil || m.stored == nil || m.base != obj.GetResourceVersion() {
			return obj
		}
		return m.stored
	})
}

// forget drops what is known about objects that are gone.
func (w *statusWriter) forget(desired []*status.Desired) {
	if len(w.memory) <= len(desired) {
		return
	}
	there := make(map[mesh.Object]bool, len(desired))
	for _, d := range desired {
		there[d.ID] = true
	}
	maps.DeleteFunc(w.memory, func(o mesh.Object, _ *memory) bool { return !there[o] })
}

func (w *statusWriter) remember(d *status.Desired) *memory {
	m := w.memory[d.ID]
	if m == nil || m.uid != string(d.Object.GetUID()) {
		m = &memory{uid: string(d.Object.GetUID())}
		w.memory[d.ID] = m
	}
	return m
}

// due decides whether a difference is written now.
func (w *statusWriter) due(m *memory, d *status.Desired, c status.Change, now time.Time) bool {
	if low := lower(d); !low {
		m.lowSince = time.Time{}
	} else if m.lowSince.IsZero() {
		m.lowSince = now
	}
	switch {
	case !m.lowSince.IsZero() && now.Sub(m.lowSince) < settling:
		return false
	case c == status.Lowered && now.Sub(w.elected) < election:
		return false
	case c == status.Wording && now.Sub(m.worded) < wordingPause:
		return false
	case now.Sub(m.written) < sameObjectPause && !m.written.IsZero() && c != status.Flipped:
		return false
	}
	if passed := now.Sub(w.refilled); passed >= time.Second {
		w.budget, w.refilled = writesPerSecond, now
	}
	if w.budget == 0 {
		return false
	}
	w.budget--
	return true
}

// lower is true while proxies have not all acknowledged: that may change within milliseconds.
func lower(d *status.Desired) bool {
	c := meshv1beta2.FindCondition(d.Conditions, meshv1beta2.ConditionProgrammed)
	return c != nil && c.Status != metav1.ConditionTrue && c.Reason == meshv1beta2.ReasonPending
}

// write stores a status and tells the moments in it as events.
func (w *statusWriter) write(ctx context.Context, m *memory, d *status.Desired, next meshv1beta2.Object, now time.Time) error {
	base := d.Object.GetResourceVersion()
	if m.stored != nil && m.stored.GetResourceVersion() == base {
		base = m.base // the informer still shows the version before our last write
	}
	before := d.Object
	if err := w.client.Status().Patch(ctx, next, client.MergeFrom(before)); err != nil {
		return err
	}
	m.base, m.stored, m.written = base, next, now
	w.tell(before, next)
	return nil
}

// tell records events where an object was refused or taken again.
func (w *statusWriter) tell(before, after meshv1beta2.Object) {
	for _, kind := range []string{meshv1beta2.ConditionAccepted, meshv1beta2.ConditionResolvedRefs, meshv1beta2.ConditionProgrammed, meshv1beta2.ConditionInjected} {
		had := meshv1beta2.FindCondition(*before.Common().Conditions, kind)
		has := meshv1beta2.FindCondition(*after.Common().Conditions, kind)
		if has == nil {
			continue // only nodes and gateways are injected
		}
		wasFalse := had != nil && had.Status == metav1.ConditionFalse
		switch {
		case has.Status == metav1.ConditionFalse && kind == meshv1beta2.ConditionProgrammed && has.Reason != meshv1beta2.ReasonProxyRejected:
			// That proxies are on their way is a state, not a moment.
		case has.Status == metav1.ConditionFalse && (!wasFalse || had.Reason != has.Reason):
			reason := "ReconcileError"
			if slices.Contains([]string{meshv1beta2.ReasonProxyRejected, meshv1beta2.ReasonPodsOutside, meshv1beta2.ReasonProbesRefused}, has.Reason) {
				reason = has.Reason
			}
			w.recorder.Eventf(after, nil, corev1.EventTypeWarning, reason, "Compile", "%s: %s", has.Reason, has.Message)
		case has.Status == metav1.ConditionTrue && wasFalse && kind != meshv1beta2.ConditionProgrammed:
			w.recorder.Eventf(after, nil, corev1.EventTypeNormal, has.Reason, "Compile", "%s is true again", kind)
		}
	}
}

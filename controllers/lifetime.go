package controllers

import (
	"context"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds/peer"
)

const (
	// lifetimeWrites bounds the writes per second.
	lifetimeWrites = 100
	// leaveLimit is how long a deletion waits for proxies that do not acknowledge.
	leaveLimit = 10 * time.Second
	// reminder is how often the event about a waiting deletion is repeated. Source: App Mesh controller, requeue of a blocked deletion.
	reminder = time.Minute
	// lag is how long the informer may take to show a write of ours before the object is looked at again as it is.
	lag = 5 * time.Second
	// firstPause and longestPause bound the wait after a failed write, which doubles each time.
	firstPause, longestPause = time.Second, time.Minute
)

// lifetimeWriter carries out what package lifetime decides. Only the leader runs it, and it writes to no object that needs nothing.
type lifetimeWriter struct {
	client   client.Client
	live     client.Reader
	recorder func(component string) events.EventRecorder
	log      logr.Logger
	// namespace is the operator's own, where the revisions of Meshes are stored.
	namespace string
	revisions func() []lifetime.Stored
	// objects are all that are stored, those that leave too.
	objects  func() *input.Objects
	snapshot func() *pipeline.Snapshot
	rows     func() []peer.Row
	acked    func(group, acked, sent string) uint64
	trigger  <-chan struct{}

	previous *pipeline.Snapshot
	lives    map[types.UID]*life
	budget   int
	refilled time.Time
}

// life is what the writer remembers of an object while there is something to do with it.
type life struct {
	// leaving is when the proxies were first seen to have been told, from snapshot number seq on; groups are those concerned,
	// nil if that is not known.
	leaving time.Time
	seq     uint64
	groups  map[string]bool
	// told is when the last event about the wait was made.
	told time.Time
	// base is the resource version that was patched at the time written.
	base    string
	written time.Time
	// stored is when the accepted specification was stored.
	stored time.Time
	// failed is the pause after the last failure, retry its end.
	failed time.Duration
	retry  time.Time
	// panicked is the pause after the last panic, broken its end.
	panicked time.Duration
	broken   time.Time
}

// NeedLeaderElection is true: only the leader writes.
func (w *lifetimeWriter) NeedLeaderElection() bool { return true }

// Start writes until ctx ends: at every change, soon again while something is under way, and every minute in any case.
func (w *lifetimeWriter) Start(ctx context.Context) error {
	w.lives, w.refilled, w.budget = map[types.UID]*life{}, time.Now(), lifetimeWrites
	const rest = 60 * time.Millisecond
	for {
		pause := reminder
		w.contain().run(func() {
			if w.pass(ctx) {
				pause = recheck
			}
		})
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
			continue
		case <-w.trigger:
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest): // what changes together is looked at together, and proxies come first
		}
	}
}

// pass does what is to be done now. It is true when something was put off.
func (w *lifetimeWriter) pass(ctx context.Context) (again bool) {
	s := w.snapshot()
	if s == nil {
		return true
	}
	now := time.Now()
	o := w.objects()
	// 1. Give objects that came in without a webhook what it would have given them.
	again = w.complete(ctx, o, now)
	// 2. Store what the snapshot serves in place of the current specification.
	again = w.keepRevisions(ctx, s, now) || again
	// 3. Finalizers.
	for _, p := range lifetime.Plans(o) {
		w.each(p.Object, now, func() { again = w.carryOut(ctx, p, s, now) || again })
	}
	w.previous = s
	w.forget(o)
	return again
}

func (w *lifetimeWriter) contain() containment { return containment{w.log, "lifetime"} }

// each does something for one object. When that panics it is tried again later, and less and less often; others are not concerned.
func (w *lifetimeWriter) each(o meshv1beta2.Object, now time.Time, do func()) {
	l := w.life(o)
	if now.Before(l.broken) {
		return
	}
	if w.contain().object(input.ID(o), do) {
		l.broken, l.panicked = time.Time{}, 0
		return
	}
	l.panicked = min(max(2*l.panicked, firstPause), longestPause)
	l.broken = now.Add(l.panicked)
}

// carryOut brings an object's finalizers in line with its plan.
func (w *lifetimeWriter) carryOut(ctx context.Context, p lifetime.Plan, s *pipeline.Snapshot, now time.Time) (again bool) {
	l := w.life(p.Object)
	if p.Hold != nil && now.Sub(l.told) >= reminder {
		l.told = now
		w.recorder(p.Hold.Recorder).Eventf(p.Object, nil, corev1.EventTypeWarning, p.Hold.Reason, "Delete", "%s", p.Hold.Message)
	}
	left := len(p.Leave) > 0 && w.left(l, p.ID, s, now)
	again = len(p.Leave) > 0 && !left
	list := p.Finalizers(left)
	if slices.Equal(list, p.Object.GetFinalizers()) {
		return again
	}
	return w.patch(ctx, p.Object, l, now, func(next meshv1beta2.Object) { next.SetFinalizers(list) }) || again
}

// left is true when no connected proxy runs anything made from an object any more, or when that takes too long. Proxies of a node
// that is gone itself are not asked: they keep their last configuration.
func (w *lifetimeWriter) left(l *life, id mesh.Object, s *pipeline.Snapshot, now time.Time) bool {
	if s.Generation(id) != 0 {
		return false // the pipeline has yet to see that it leaves
	}
	if l.leaving.IsZero() {
		l.leaving, l.seq = now, s.Seq
		if w.previous != nil && w.previous.Generation(id) != 0 {
			l.groups = map[string]bool{}
			for _, g := range w.previous.Result.Model.Dependents(id) {
				l.groups[g.ID] = true
			}
		}
	}
	if now.Sub(l.leaving) >= leaveLimit {
		return true
	}
	for _, r := range w.rows() {
		if l.groups != nil && !l.groups[r.Group] || s.Sets[r.Group] == nil {
			continue
		}
		if r.Unknown || w.acked(r.Group, r.AckedSet, r.SetVersion) < l.seq {
			return false
		}
	}
	return true
}

// patch stores a change of an object, unless somebody else has changed it meanwhile. It is true when it has to be tried again.
func (w *lifetimeWriter) patch(ctx context.Context, o meshv1beta2.Object, l *life, now time.Time, change func(meshv1beta2.Object)) (again bool) {
	if l.base == o.GetResourceVersion() && now.Sub(l.written) < lag || now.Before(l.retry) || !w.allowed(now) {
		return true
	}
	next, ok := o.DeepCopyObject().(meshv1beta2.Object)
	if !ok {
		return false // every kind's copy is of the same kind
	}
	change(next)
	err := w.client.Patch(ctx, next, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{}))
	switch {
	case err == nil:
		l.base, l.written, l.failed = o.GetResourceVersion(), now, 0
		return false
	case apierrors.IsNotFound(err) || ctx.Err() != nil:
		return false
	case apierrors.IsConflict(err):
		return true // the informer is about to show what changed
	}
	w.fail(o, l, now, err)
	return true
}

// fail puts the next try off and says why, on the object too when its deletion is concerned.
func (w *lifetimeWriter) fail(o meshv1beta2.Object, l *life, now time.Time, err error) {
	l.failed = min(max(2*l.failed, firstPause), longestPause)
	l.retry = now.Add(l.failed)
	kind := o.Common().Kind
	w.log.Error(err, "Object not written, trying again", "kind", kind, "namespace", o.GetNamespace(), "name", o.GetName(), "duration", l.failed)
	if o.GetDeletionTimestamp() != nil {
		w.recorder(kind).Eventf(o, nil, corev1.EventTypeWarning, "ReconcileError", "Delete",
			"the finalizer cannot be removed: %v; trying again", err)
	}
}

// allowed takes one write from the budget of this second.
func (w *lifetimeWriter) allowed(now time.Time) bool {
	if now.Sub(w.refilled) >= time.Second {
		w.budget, w.refilled = lifetimeWrites, now
	}
	if w.budget == 0 {
		return false
	}
	w.budget--
	return true
}

func (w *lifetimeWriter) life(o meshv1beta2.Object) *life {
	l := w.lives[o.GetUID()]
	if l == nil {
		l = &life{}
		w.lives[o.GetUID()] = l
	}
	return l
}

// forget drops what is remembered of objects that are gone.
func (w *lifetimeWriter) forget(o *input.Objects) {
	there := make(map[types.UID]bool, len(w.lives))
	for obj := range input.All[meshv1beta2.Object](o) {
		if w.lives[obj.GetUID()] != nil {
			there[obj.GetUID()] = true
		}
	}
	for uid := range w.lives {
		if !there[uid] {
			delete(w.lives, uid)
		}
	}
}

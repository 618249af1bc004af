package controllers

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// keepRevisions stores every accepted specification that the snapshot serves in place of the current one, and removes the
// revisions that are not needed any more.
func (w *lifetimeWriter) keepRevisions(ctx context.Context, s *pipeline.Snapshot, now time.Time) (again bool) {
	wanted := map[string]bool{}
	for _, a := range s.Objects.Accepted {
		id := input.ID(a)
		if generation, kept := s.Result.Kept[id]; !kept || generation != a.GetGeneration() {
			continue
		}
		name := lifetime.RevisionName(a.GetUID(), a.GetGeneration())
		wanted[name] = true
		w.each(a, now, func() { again = w.keepRevision(ctx, a, name, now) || again })
	}
	for _, r := range w.revisions() {
		if wanted[r.Name] || !r.Ours {
			continue
		}
		gone := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}}
		if err := w.client.Delete(ctx, gone, client.Preconditions{UID: &r.UID}); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
			w.log.Error(err, "Revision not removed, trying again", "namespace", r.Namespace, "name", r.Name)
			again = true
		}
	}
	return again
}

// keepRevision stores one accepted specification.
func (w *lifetimeWriter) keepRevision(ctx context.Context, a meshv1beta2.Object, name string, now time.Time) (again bool) {
	l := w.life(a)
	if w.stored(name) || now.Sub(l.stored) < lag {
		return false
	}
	if now.Before(l.retry) || !w.allowed(now) {
		return true
	}
	r, err := lifetime.Revision(a, w.namespace)
	if err == nil {
		err = w.client.Create(ctx, r)
	}
	switch {
	case err == nil || apierrors.IsAlreadyExists(err):
		l.stored = now
	case ctx.Err() == nil:
		w.fail(a, l, now, err)
		return true
	}
	return false
}

// stored is true when a revision of the name exists.
func (w *lifetimeWriter) stored(name string) bool {
	for _, r := range w.revisions() {
		if r.Name == name && r.Accepted != nil {
			return true
		}
	}
	return false
}

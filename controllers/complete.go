package controllers

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

// writeLifetimes adds the writer of finalizers and system fields.
func (op *operator) writeLifetimes(context.Context, *rest.Config) error {
	return op.manager.Add(&lifetimeWriter{
		client: op.manager.GetClient(), live: op.client, log: op.log.WithName("lifetime"),
		namespace: op.Namespace, revisions: op.source.Revisions,
		recorder: func(component string) events.EventRecorder { return op.manager.GetEventRecorder(component) },
		objects:  op.source.Objects, snapshot: op.pipeline.Last, rows: op.rows, acked: op.pipeline.AckedThrough, trigger: op.lifetimeTrigger,
	})
}

// complete writes the system fields that objects stored without a webhook lack.
func (w *lifetimeWriter) complete(ctx context.Context, o *input.Objects, now time.Time) (again bool) {
	for _, c := range lifetime.Incomplete(o) {
		w.each(c.Object, now, func() { again = w.completeOne(ctx, c, now) || again })
	}
	return again
}

func (w *lifetimeWriter) completeOne(ctx context.Context, c lifetime.Completion, now time.Time) (again bool) {
	l := w.life(c.Object)
	if now.Before(l.retry) {
		return true
	}
	if c.Replaces != nil {
		// The cache may not know yet what the object refers to.
		gone, err := w.gone(ctx, c.Replaces)
		if err != nil {
			w.fail(c.Object, l, now, err)
		}
		if !gone {
			return true
		}
	}
	return w.patch(ctx, c.Object, l, now, c.Apply)
}

// gone asks the API server whether any of the referents is there under its UID.
func (w *lifetimeWriter) gone(ctx context.Context, referents []lifetime.Referent) (bool, error) {
	for _, r := range referents {
		var found client.Object = &meshv1beta2.Mesh{}
		if r.Namespace != "" {
			found = &meshv1beta2.VirtualGateway{}
		}
		err := w.live.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, found)
		switch {
		case err == nil && found.GetUID() == r.UID:
			return false, nil
		case err != nil && !apierrors.IsNotFound(err):
			return false, errors.Join(errors.New("read what the object refers to"), err)
		}
	}
	return true, nil
}

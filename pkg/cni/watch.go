package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/aftermesh/aftermesh/pkg/inject"
)

// Watcher finds pods of its node that are injected in CNI form and started without redirection, because the plugin was not in place
// yet. They are outside of the mesh; their traffic passes their proxy by.
type Watcher struct {
	Client    kubernetes.Interface
	Node      string
	RecordDir string
	// Delete deletes such pods if they have a controller, which recreates them; the others only get an event.
	Delete bool
	Log    logr.Logger

	told map[string]bool
}

// Run looks until ctx ends.
func (w *Watcher) Run(ctx context.Context, every time.Duration) {
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.Log.Error(err, "Pods not looked at, trying again")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Look goes through the pods once. Each is told once, and deleted until it goes. What fails for one pod does not stop the others.
func (w *Watcher) Look(ctx context.Context) error {
	pods, err := w.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", w.Node).String(),
	})
	if err != nil {
		return err
	}
	var errs []error
	told := map[string]bool{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if who, _, err := inject.RedirectionOf(p); err != nil || who != inject.CNIPlugin || p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning {
			continue
		}
		if _, err := os.Stat(filepath.Join(w.RecordDir, string(p.UID))); err == nil {
			continue
		}
		deleted := w.Delete && metav1.GetControllerOf(p) != nil
		if !w.told[string(p.UID)] {
			if err := w.tell(ctx, p, deleted); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		told[string(p.UID)] = true
		if deleted {
			errs = append(errs, w.end(ctx, p))
		}
	}
	w.told = told
	return errors.Join(errs...)
}

// end deletes a pod unless it is another one by now.
func (w *Watcher) end(ctx context.Context, p *corev1.Pod) error {
	err := w.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("delete pod %s/%s: %w", p.Namespace, p.Name, err)
}

func (w *Watcher) tell(ctx context.Context, p *corev1.Pod, deleted bool) error {
	remedy := "delete and recreate it"
	if deleted {
		remedy = "it is deleted, its controller recreates it"
	}
	now := metav1.NewMicroTime(time.Now())
	event := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: p.Namespace, GenerateName: p.Name + "-"},
		EventTime:           now,
		ReportingController: "aftermesh.dev/cni", ReportingInstance: w.Node,
		Action: "Redirect", Reason: "NotRedirected", Type: corev1.EventTypeWarning,
		Regarding: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Note: fmt.Sprintf("the pod started before the CNI plugin was in place on node %s, or while it was away: its traffic passes its proxy by; %s",
			w.Node, remedy),
	}
	if _, err := w.Client.EventsV1().Events(p.Namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("write an event for pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	w.Log.Info("Pod without redirection", "namespace", p.Namespace, "pod", p.Name, "deleted", deleted)
	return nil
}

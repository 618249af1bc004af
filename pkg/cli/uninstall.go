package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

func newUninstall() *cobra.Command {
	var k kubeFlags
	u := uninstaller{}
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the operator and release its objects, so that everything can be deleted",
		Long: `Scales the operator down, removes its webhook configurations and its finalizers on all objects of appmesh.k8s.aws, deletes the
specifications that it stored, and prints what is left to delete. Without this, objects that are deleted later would never disappear,
because their finalizers wait for the operator. Running proxies keep their configuration. The command can be repeated at any time.`,
		Example: `  aftermesh uninstall --dry-run
  aftermesh uninstall`,
		Args: atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, _, err := k.load()
			if err != nil {
				return err
			}
			if u.client, err = client.New(cfg, client.Options{Scheme: controllers.Scheme()}); err != nil {
				return err
			}
			u.out = c.OutOrStdout()
			return u.run(c.Context())
		},
	}
	c.Flags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig file; default as kubectl")
	c.Flags().StringVar(&k.context, "context", "", "context of the kubeconfig")
	c.Flags().BoolVar(&u.dryRun, "dry-run", false, "print what would be done and change nothing")
	return c
}

// uninstaller takes the operator out of a cluster.
type uninstaller struct {
	client client.Client
	out    io.Writer
	dryRun bool
}

// run does every step that is not done yet.
func (u *uninstaller) run(ctx context.Context) error {
	// 1. Nobody may add finalizers again.
	if err := u.stopOperator(ctx); err != nil {
		return err
	}
	// 2. Nothing answers them any more, and what they judge could not be changed.
	if err := u.removeWebhooks(ctx); err != nil {
		return err
	}
	// 3. Nothing may wait for an operator that is gone.
	if err := u.removeFinalizers(ctx); err != nil {
		return err
	}
	if err := u.removeRevisions(ctx); err != nil {
		return err
	}
	fmt.Fprintf(u.out, `
To delete the rest:
  kubectl delete namespace %s
  kubectl delete clusterrole,clusterrolebinding aftermesh
  kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding -l app.kubernetes.io/name=aftermesh
To delete the CRDs of appmesh.k8s.aws, and with them every object of the mesh:
  kubectl get crd -o name | grep appmesh.k8s.aws | xargs kubectl delete
Pods keep their proxies until they are restarted.
`, systemNamespace)
	return nil
}

// say reports a step that was done, or that a run without --dry-run would do.
func (u *uninstaller) say(done, planned, format string, args ...any) {
	verb := done
	if u.dryRun {
		verb = "Would " + planned
	}
	fmt.Fprintf(u.out, verb+" "+format+"\n", args...)
}

// stopOperator scales the operator down and waits until its pods are gone.
func (u *uninstaller) stopOperator(ctx context.Context) error {
	var d appsv1.Deployment
	err := u.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "aftermesh"}, &d)
	switch {
	case apierrors.IsNotFound(err):
		fmt.Fprintf(u.out, "No operator: there is no Deployment %s/aftermesh\n", systemNamespace)
		return nil
	case err != nil:
		return fmt.Errorf("read Deployment %s/aftermesh: %w", systemNamespace, err)
	}
	if d.Spec.Replicas == nil || *d.Spec.Replicas != 0 {
		if !u.dryRun {
			before := d.DeepCopy()
			d.Spec.Replicas = new(int32)
			if err := u.client.Patch(ctx, &d, client.MergeFrom(before)); err != nil {
				return fmt.Errorf("scale Deployment %s/aftermesh to 0: %w", systemNamespace, err)
			}
		}
		u.say("Scaled", "scale", "Deployment %s/aftermesh to 0", systemNamespace)
	}
	if u.dryRun {
		return nil
	}
	const limit, period = 60 * time.Second, 250 * time.Millisecond
	for deadline := time.Now().Add(limit); ; {
		var pods corev1.PodList
		if err := u.client.List(ctx, &pods, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/name": "aftermesh"}); err != nil {
			return fmt.Errorf("list the operator's pods: %w", err)
		}
		if len(pods.Items) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s of the operator still exist after %v; see: kubectl -n %s get pods; then run this again", count(len(pods.Items), "pod"), limit, systemNamespace)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(period):
		}
	}
}

func (u *uninstaller) removeWebhooks(ctx context.Context) error {
	for what, o := range map[string]client.Object{
		"mutating":   &admissionregistrationv1.MutatingWebhookConfiguration{},
		"validating": &admissionregistrationv1.ValidatingWebhookConfiguration{},
	} {
		name := "aftermesh-" + what + "-webhook-configuration"
		err := u.client.Get(ctx, client.ObjectKey{Name: name}, o)
		if err == nil && !u.dryRun {
			err = u.client.Delete(ctx, o)
		}
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("delete %s: %w", name, err)
		default:
			u.say("Deleted", "delete", "%s", name)
		}
	}
	return nil
}

// removeFinalizers takes ours off every object, and nobody else's.
func (u *uninstaller) removeFinalizers(ctx context.Context) error {
	objects, err := meshObjects(ctx, u.client)
	if meta.IsNoMatchError(err) {
		return nil // the definitions are gone already
	}
	if err != nil {
		return err
	}
	const step = 100 // of the progress that is shown
	n := 0
	for _, o := range objects {
		if !slices.ContainsFunc(o.GetFinalizers(), isOurs) {
			continue
		}
		n++
		if u.dryRun {
			continue
		}
		if err := u.dropFinalizers(ctx, o); err != nil {
			return err
		}
		if n%step == 0 {
			fmt.Fprintf(u.out, "… %d objects\n", n)
		}
	}
	if n > 0 {
		u.say("Removed", "remove", "the finalizers of %s", count(n, "object"))
	}
	return nil
}

func isOurs(finalizer string) bool { return slices.Contains(meshv1beta2.Finalizers(), finalizer) }

// dropFinalizers tries again with a fresh object when somebody changed it meanwhile.
func (u *uninstaller) dropFinalizers(ctx context.Context, o meshv1beta2.Object) error {
	const tries = 5
	var err error
	for range tries {
		before, ok := o.DeepCopyObject().(meshv1beta2.Object)
		if !ok {
			return errors.New("a copy is of another kind")
		}
		o.SetFinalizers(slices.DeleteFunc(slices.Clone(o.GetFinalizers()), isOurs))
		err = u.client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) {
			break
		}
		if err = u.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			break
		}
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the finalizers of %s %s/%s: %w", o.Common().Kind, o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// removeRevisions deletes the accepted specifications that were stored beside objects.
func (u *uninstaller) removeRevisions(ctx context.Context) error {
	var list appsv1.ControllerRevisionList
	if err := u.client.List(ctx, &list, client.HasLabels{lifetime.LabelAccepted}); err != nil {
		return fmt.Errorf("list stored specifications: %w", err)
	}
	for i := range list.Items {
		if u.dryRun {
			continue
		}
		if err := u.client.Delete(ctx, &list.Items[i]); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete ControllerRevision %s/%s: %w", list.Items[i].Namespace, list.Items[i].Name, err)
		}
	}
	if len(list.Items) > 0 {
		u.say("Deleted", "delete", "%s", count(len(list.Items), "stored specification"))
	}
	return nil
}

// meshObjects lists every object of our kinds in the cluster, those first that refer to others.
func meshObjects(ctx context.Context, c client.Client) ([]meshv1beta2.Object, error) {
	out, err := listKinds(ctx, c)
	slices.Reverse(out)
	return out, err
}

// listKinds lists the objects of all our kinds in the order of the kinds.
func listKinds(ctx context.Context, c client.Client, options ...client.ListOption) ([]meshv1beta2.Object, error) {
	var out []meshv1beta2.Object
	for _, k := range meshv1beta2.Kinds {
		list := k.NewList()
		if err := c.List(ctx, list, options...); err != nil {
			return nil, fmt.Errorf("list objects of appmesh.k8s.aws: %w", err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if o, ok := item.(meshv1beta2.Object); ok {
				out = append(out, o)
			}
		}
	}
	return out, nil
}

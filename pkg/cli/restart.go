package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/controllers"
)

// restartable are the kinds that replace their pods one after the other, with the API they are of.
var restartable = map[string]string{"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Rollout": "argoproj.io/v1alpha1"}

// restartFlags say which workloads are meant and how.
type restartFlags struct {
	kubeFlags
	outdated, outside, dryRun, wait bool
	timeout                         time.Duration
}

func newRestart() *cobra.Command {
	var f restartFlags
	var format string
	c := &cobra.Command{
		Use:   "restart {--outdated | --outside | KIND/NAME ...}",
		Short: "Restart the workloads whose pods have an old proxy, or none",
		Long: `Finds the pods that a restart would change, by asking the API server what the webhook would make of them now (nothing is
created), and restarts the workloads they belong to, one after the other, each by its own rolling update:

  --outdated   pods whose proxy is not what the webhook would inject now: image, arguments, node, the root they trust, or probes that
               a listener refuses since it became STRICT
  --outside    pods that run without a proxy although they should have one

Deployments, StatefulSets, DaemonSets and Argo Rollouts are restarted. Pods of Jobs and pods that nothing owns are only named.`,
		Example: `  aftermesh restart --outdated -A --dry-run
  aftermesh restart --outside -n shop
  aftermesh restart deployment/front statefulset/store -n shop`,
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) > 0) == (f.outdated || f.outside) {
				return usageError{errors.New("expected either --outdated, --outside or both, or workloads as KIND/NAME")}
			}
			list, err := workloads(args)
			if err != nil {
				return err
			}
			if len(list) > 0 && f.allNamespaces {
				return usageError{errors.New("-A goes with --outdated and --outside only: name the namespace of the workloads with -n")}
			}
			cfg, namespace, err := f.load()
			if err != nil {
				return err
			}
			cl, err := client.New(cfg, client.Options{Scheme: controllers.Scheme()})
			if err != nil {
				return err
			}
			r := &restarter{restartFlags: f, client: cl, out: c.OutOrStdout()}
			if len(list) > 0 {
				for i := range list {
					list[i].Namespace = namespace
				}
				return r.all(c.Context(), list)
			}
			return r.found(c.Context(), namespace, format)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.outdated, "outdated", false, "workloads with pods whose proxy is not what would be injected now")
	c.Flags().BoolVar(&f.outside, "outside", false, "workloads with pods that should have a proxy and have none")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only list them")
	c.Flags().BoolVar(&f.wait, "wait", true, "wait for each workload before the next one")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for one workload")
	outputFlag(c, &format, "table", "json", "yaml")
	return c
}

// restarter does what one command asks.
type restarter struct {
	restartFlags
	client client.Client
	out    io.Writer
}

// workloads reads KIND/NAME arguments.
func workloads(args []string) ([]owner, error) {
	var list []owner
	for _, a := range args {
		kind, name, ok := strings.Cut(a, "/")
		full := ""
		for k := range restartable {
			if strings.EqualFold(k, strings.TrimSuffix(kind, "s")) || kind == map[string]string{"Deployment": "deploy", "StatefulSet": "sts", "DaemonSet": "ds"}[k] {
				full = k
			}
		}
		if !ok || name == "" || strings.Contains(name, "/") || full == "" {
			return nil, usageError{fmt.Errorf("expected deployment/NAME, statefulset/NAME, daemonset/NAME or rollout/NAME, not %q", a)}
		}
		list = append(list, owner{APIVersion: restartable[full], Kind: full, Name: name})
	}
	return list, nil
}

// found restarts what the audit finds.
func (r *restarter) found(ctx context.Context, namespace, format string) error {
	s := &audit{client: r.client}
	list, err := s.pods(ctx, namespace)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(f podFinding) bool {
		return f.State == stateOutdated && !r.outdated || f.State == stateOutside && !r.outside
	})
	if format != "table" {
		if list == nil {
			list = []podFinding{}
		}
		if err := print(r.out, format, list); err != nil {
			return err
		}
	} else if err := printPodFindings(r.out, list); err != nil {
		return err
	}
	var owners []owner
	var unsure error
	for _, f := range list {
		if f.State == stateUnknown {
			unsure = errFault
		} else if !slices.Contains(owners, f.Owner) {
			owners = append(owners, f.Owner)
		}
	}
	if r.dryRun {
		return unsure
	}
	if format != "table" {
		r.out = io.Discard // the list was the answer
	}
	return cmp.Or(r.all(ctx, owners), unsure)
}

// printPodFindings prints a row per pod.
func printPodFindings(w io.Writer, list []podFinding) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "every pod has the proxy that it should have")
		return nil
	}
	var rows [][]string
	for _, f := range list {
		rows = append(rows, []string{f.Owner.Namespace, f.Owner.String(), f.Pod, f.State, f.Why})
	}
	return table(w, []string{"NAMESPACE", "OWNER", "POD", "STATE", "WHY"}, rows)
}

// all restarts workloads one after the other. What cannot be restarted is named, and the others go on.
func (r *restarter) all(ctx context.Context, list []owner) error {
	bad := false
	for _, o := range list {
		if restartable[o.Kind] == "" {
			fmt.Fprintf(r.out, "%s %s: nothing replaces its pods; delete them or run it again\n", o.Namespace, o)
			bad = true
			continue
		}
		if r.dryRun {
			fmt.Fprintf(r.out, "%s %s: would be restarted\n", o.Namespace, o)
			continue
		}
		if err := r.restart(ctx, o); err != nil {
			fmt.Fprintf(r.out, "%s %s: %v\n", o.Namespace, o, err)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			bad = true
		}
	}
	if bad {
		return errFault
	}
	return nil
}

// restart does what "kubectl rollout restart" does, and waits.
func (r *restarter) restart(ctx context.Context, o owner) error {
	now := time.Now().UTC().Format(time.RFC3339)
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{"kubectl.kubernetes.io/restartedAt": now},
	}}}}
	if o.Kind == "Rollout" {
		patch = map[string]any{"spec": map[string]any{"restartAt": now}}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.FromAPIVersionAndKind(o.APIVersion, o.Kind))
	u.SetNamespace(o.Namespace)
	u.SetName(o.Name)
	if err := r.client.Patch(ctx, u, client.RawPatch(types.MergePatchType, body)); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	if paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused"); paused { // a field of another type is not true
		return errors.New("it is paused: its pods are replaced once it is resumed")
	}
	if !r.wait {
		fmt.Fprintf(r.out, "%s %s: restarted\n", o.Namespace, o)
		return nil
	}
	return r.await(ctx, o, u)
}

// await polls a workload until all its pods are new and available, and prints each step.
func (r *restarter) await(ctx context.Context, o owner, u *unstructured.Unstructured) error {
	const pause = time.Second
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	start, said := time.Now(), ""
	for {
		words, done := progress(u)
		if words != said {
			fmt.Fprintf(r.out, "%s %s: %s (%v)\n", o.Namespace, o, words, time.Since(start).Round(time.Second))
			said = words
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not all pods are new and available after %v; see: kubectl -n %s describe %s", time.Since(start).Round(time.Second), o.Namespace, o)
		case <-time.After(pause):
		}
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// progress says how far a rolling update is, and whether it is over.
func progress(u *unstructured.Unstructured) (string, bool) {
	number := func(path ...string) int64 {
		n, _, _ := unstructured.NestedInt64(u.Object, path...) // absent is 0
		return n
	}
	want, isSet, _ := unstructured.NestedInt64(u.Object, "spec", "replicas") // absent is 1
	if !isSet {
		want = 1
	}
	updated, available, total := number("status", "updatedReplicas"), number("status", "availableReplicas"), number("status", "replicas")
	if u.GetKind() == "DaemonSet" {
		want, updated = number("status", "desiredNumberScheduled"), number("status", "updatedNumberScheduled")
		available, total = number("status", "numberAvailable"), number("status", "currentNumberScheduled")
	}
	if u.GetKind() != "Rollout" && number("status", "observedGeneration") < u.GetGeneration() {
		return "its controller has not seen it yet", false
	}
	words := fmt.Sprintf("%d of %d pods are new, %d available", updated, want, available)
	return words, updated >= want && available >= want && total <= want
}

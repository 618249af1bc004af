package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
)

// objectStatus is one row of `status`.
type objectStatus struct {
	Kind       string                  `json:"kind"`
	Namespace  string                  `json:"namespace,omitempty"`
	Name       string                  `json:"name"`
	Generation int64                   `json:"generation"`
	Conditions []meshv1beta2.Condition `json:"conditions"`
}

func newStatus() *cobra.Command {
	var k kubeFlags
	var format string
	c := &cobra.Command{
		Use:   "status [KIND/NAME]",
		Short: "Show what the operator says about each object",
		Long: `Shows, for every object of appmesh.k8s.aws, whether it was accepted, whether everything it names exists, and how many of
how many proxies run its present generation. The message is the first thing that is wrong.

A status that speaks of an older generation than the object's is shown as stale.`,
		Example: `  aftermesh status -A
  aftermesh status -n shop VirtualRouter/color
  kubectl aftermesh status -o json`,
		Args: atMost(1, "at most one KIND/NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := goodReference(args); err != nil {
				return err
			}
			cfg, ns, err := k.load()
			if err != nil {
				return err
			}
			cl, err := client.New(cfg, client.Options{Scheme: controllers.Scheme()})
			if err != nil {
				return err
			}
			list, err := objectStatuses(c.Context(), cl, ns)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				list = slices.DeleteFunc(list, func(o objectStatus) bool { return !strings.EqualFold(args[0], o.Kind+"/"+o.Name) })
				if len(list) == 0 {
					return fmt.Errorf("%s does not exist in %s", args[0], where(ns))
				}
			}
			if format != "table" {
				return print(c.OutOrStdout(), format, list)
			}
			return statusTable(c, list)
		},
	}
	k.add(c)
	outputFlag(c, &format, "table", "json", "yaml")
	return c
}

// goodReference refuses an argument that names no object of a kind that status shows.
func goodReference(args []string) error {
	kinds := make([]string, len(meshv1beta2.Kinds))
	for i, k := range meshv1beta2.Kinds {
		kinds[i] = k.Name
	}
	for _, a := range args {
		kind, name, ok := strings.Cut(a, "/")
		if !ok || name == "" || strings.Contains(name, "/") || !slices.ContainsFunc(kinds, func(k string) bool { return strings.EqualFold(k, kind) }) {
			return usageError{fmt.Errorf("expected KIND/NAME, not %q; the kinds are %s", a, strings.Join(kinds, ", "))}
		}
	}
	return nil
}

func statusTable(c *cobra.Command, list []objectStatus) error {
	if len(list) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "No objects of appmesh.k8s.aws found.")
		return nil
	}
	var rows [][]string
	for _, o := range list {
		row := []string{o.Namespace, o.Kind + "/" + o.Name}
		for _, kind := range []string{meshv1beta2.ConditionAccepted, meshv1beta2.ConditionResolvedRefs, meshv1beta2.ConditionProgrammed, meshv1beta2.ConditionReady} {
			row = append(row, word(o, kind))
		}
		rows = append(rows, append(row, o.message()))
	}
	return table(c.OutOrStdout(), []string{"NAMESPACE", "OBJECT", "ACCEPTED", "REFS", "PROGRAMMED", "READY", "MESSAGE"}, rows)
}

// word is the status of one condition, or why there is none.
func word(o objectStatus, kind string) string {
	c := meshv1beta2.FindCondition(o.Conditions, kind)
	switch {
	case c == nil:
		return "-"
	case c.ObservedGeneration != o.Generation:
		return "stale"
	default:
		return string(c.Status)
	}
}

// where names the namespaces that were looked at.
func where(namespace string) string {
	if namespace == "" {
		return "any namespace"
	}
	return "namespace " + namespace
}

// message is the most telling one: what keeps the object from being ready, else what was adjusted, else the count of proxies.
func (o objectStatus) message() string {
	if c := meshv1beta2.FindCondition(o.Conditions, meshv1beta2.ConditionReady); c == nil || c.Status != "True" {
		if c == nil {
			return "no status yet: is the operator running?"
		}
		return c.Message
	}
	for _, kind := range []string{meshv1beta2.ConditionAccepted, meshv1beta2.ConditionProgrammed} {
		if c := meshv1beta2.FindCondition(o.Conditions, kind); c != nil && c.Message != "" {
			return c.Message
		}
	}
	return ""
}

// objectStatuses lists the objects of a namespace, or of all, and the Meshes.
func objectStatuses(ctx context.Context, c client.Client, namespace string) ([]objectStatus, error) {
	objects, err := listKinds(ctx, c, client.InNamespace(namespace))
	out := make([]objectStatus, len(objects))
	for i, o := range objects {
		common := o.Common()
		out[i] = objectStatus{common.Kind, o.GetNamespace(), o.GetName(), o.GetGeneration(), *common.Conditions}
	}
	return out, err
}

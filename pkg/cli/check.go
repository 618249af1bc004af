package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/source"
)

func newCheck() *cobra.Command {
	var f fileFlags
	var k kubeFlags
	var format string
	c := &cobra.Command{
		Use:   "check [-f PATH]",
		Short: "Validate manifests with the operator's own code, or look for what is wrong in a cluster",
		Long: `Reads App Mesh manifests and says, with file and line, what a cluster would say about them: what the schema and the operator
would refuse, which fields do not exist, what does not resolve, and what has another effect than written. Nothing is sent anywhere.

Without -f it looks at a cluster instead, and lists what is left over of this controller and of App Mesh's: objects whose deletion
waits for nobody, finalizers without an operator, webhooks without a service; and the pods that run without a proxy although they
should have one, or with an old one, and those whose probes a listener refuses since it became STRICT; and the names that do not resolve, with
the stanza that CoreDNS needs. Each comes with the command that ends it.

Exit code 0 means that everything would be served (warnings included), 1 that something would not.`,
		Example: `  aftermesh check -f manifests/
  kustomize build overlays/prod | aftermesh check -f - -n prod
  aftermesh check -f mesh.yaml -f app/ -o json`,
		Args: atMost(0, "no arguments, manifests are given by -f"),
		RunE: func(c *cobra.Command, _ []string) error {
			if len(f.paths) == 0 {
				return checkCluster(c.Context(), &k, c.OutOrStdout())
			}
			files, err := f.read(c.InOrStdin())
			if err != nil {
				return err
			}
			if files.Own() == 0 && len(files.Faults) == 0 {
				return fmt.Errorf("no object of App Mesh's kinds is in %s: nothing was checked", strings.Join(f.paths, ", "))
			}
			return report(c.OutOrStdout(), format, files)
		},
	}
	f.add(c)
	c.Flags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig file of the cluster; default as kubectl")
	c.Flags().StringVar(&k.context, "context", "", "context of the kubeconfig")
	outputFlag(c, &format, "text", "json", "yaml")
	return c
}

func report(w io.Writer, format string, files *source.Files) error {
	problems, leftOut := withoutConsequences(files, problemFindings(files, problems(files)))
	list := slices.Concat(readFindings(files), problems)
	found := map[string]int{}
	for _, l := range list {
		found[l.Severity]++
	}
	if format != "text" {
		if err := print(w, format, map[string]any{"findings": list, "skipped": files.Skipped, "leftOut": leftOut}); err != nil {
			return err
		}
	} else {
		for _, l := range list {
			fmt.Fprintln(w, l)
		}
		fmt.Fprintf(w, "%s: %s, %d unresolved, %s\n", count(files.Own(), "object"), count(found[mesh.Rejected.String()], "error"),
			found[mesh.Unresolved.String()], count(found[mesh.Adjusted.String()], "warning"))
		if leftOut > 0 {
			fmt.Fprintf(w, "left out %s about objects that may be in the documents that cannot be read; correct these first\n", count(leftOut, "finding"))
		}
		for _, k := range slices.Sorted(maps.Keys(files.Skipped)) {
			note := ""
			if k == source.Kustomization {
				note = "; to check what it builds: kustomize build FOLDER | aftermesh check -f -"
			}
			fmt.Fprintf(w, "skipped %s of kind %s%s\n", count(files.Skipped[k], "document"), k, note)
		}
	}
	if found[mesh.Rejected.String()]+found[mesh.Unresolved.String()] > 0 {
		return errFault
	}
	return nil
}

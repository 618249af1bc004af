package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/inject"
)

func newVersion() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  aftermesh version\n  aftermesh version -o json", Args: atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			v := map[string]string{"version": Version, "go": runtime.Version(), "envoy": inject.Defaults().SidecarImage, "oldestEnvoy": "1.37", "oldestKubernetes": "1.30"}
			if format != "text" {
				return print(c.OutOrStdout(), format, v)
			}
			fmt.Fprintf(c.OutOrStdout(), "aftermesh %s (%s), sidecar %s\n", v["version"], v["go"], v["envoy"])
			return nil
		},
	}
	outputFlag(c, &format, "text", "json", "yaml")
	return c
}

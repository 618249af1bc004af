package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/redirect"
)

func newRedirect() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "redirect",
		Short: "Program the redirection of a pod's traffic to its proxy",
		Long: `Runs as the init container of injected pods: writes the nftables table "aftermesh" in the network namespace it runs in,
prints what it did, and exits. Settings come from the environment (APPMESH_APP_PORTS and so on), as the injector writes
them. Running it again replaces the table; rules of others are not touched. It needs the capability NET_ADMIN.`,
		Example: `  APPMESH_IGNORE_UID=1337 APPMESH_ENVOY_EGRESS_PORT=15001 aftermesh redirect --dry-run`,
		Args:    atMost(0, "no arguments, settings come from the environment"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := redirect.FromEnv(os.Getenv)
			if err == nil {
				err = cfg.Validate()
			}
			if err != nil {
				return usageError{err}
			}
			if dry {
				fmt.Fprint(c.OutOrStdout(), cfg.Rules())
				return nil
			}
			summary, err := redirect.Apply(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), summary)
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "print the rules instead of programming them")
	return c
}

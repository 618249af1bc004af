package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/redirect"
)

func newRedirect() *cobra.Command {
	var dry bool
	var waitFor string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "redirect",
		Short: "Program the redirection of a pod's traffic to its proxy",
		Long: `Runs as the init container of injected pods: writes the nftables table "aftermesh" in the network namespace it runs in,
prints what it did, and exits. Settings come from the environment (APPMESH_APP_PORTS and so on), as the injector writes
them. Running it again replaces the table; rules of others are not touched. It needs the capability NET_ADMIN.

With --wait-for it then waits until the proxy, which was started before it, has its configuration, so that the application does not
start earlier.`,
		Example: `  APPMESH_START_ENABLED=1 APPMESH_IGNORE_UID=1337 APPMESH_APP_PORTS=8080 \
    APPMESH_ENVOY_INGRESS_PORT=15000 APPMESH_ENVOY_EGRESS_PORT=15001 aftermesh redirect --dry-run`,
		Args: atMost(0, "no arguments, settings come from the environment"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := redirect.FromEnv(os.Getenv)
			if err == nil {
				err = cfg.Validate()
			}
			if err != nil {
				return usageError{err}
			}
			if waitFor != "" {
				if err := goodAddress("--wait-for", waitFor); err != nil {
					return err
				}
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
			if waitFor == "" {
				return nil
			}
			return waitReady(c.Context(), c.OutOrStdout(), waitFor, timeout)
		},
	}
	c.Flags().StringVar(&waitFor, "wait-for", "", "address of the proxy to wait for afterwards, until it answers 200")
	c.Flags().DurationVar(&timeout, "wait-timeout", 0, "how long to wait; 0 sets no limit")
	c.Flags().BoolVar(&dry, "dry-run", false, "print the rules instead of programming them")
	return c
}

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/admin"
)

func newProxies() *cobra.Command {
	var k kubeFlags
	var format string
	var port int
	c := &cobra.Command{
		Use:   "proxies",
		Short: "List the proxies and whether they run what they should",
		Long: `Asks the operator which injected pods are connected and whether each has acknowledged everything that it was sent:

  Synced        it runs the newest configuration of its node
  Pending       a change is on its way
  Rejected      Envoy refuses part of it; the message is Envoy's own
  Unknown       the replica that serves it cannot be reached
  Disconnected  it should be connected, and is not`,
		Example: `  aftermesh proxies -A
  kubectl aftermesh proxies -n shop -o json`,
		Args: atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := tcpPorts("--admin-port", []int{port}); err != nil {
				return err
			}
			cfg, ns, err := k.load()
			if err != nil {
				return err
			}
			var all, list []admin.Proxy
			if err := adminGet(c.Context(), cfg, port, "/v1/proxies", &all); err != nil {
				return err
			}
			for _, p := range all {
				if ns == "" || p.Namespace == ns {
					list = append(list, p)
				}
			}
			if format != "table" {
				return print(c.OutOrStdout(), format, list)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.ErrOrStderr(), "No proxies found.")
				return nil
			}
			var rows [][]string
			for _, p := range list {
				rows = append(rows, []string{p.Namespace, p.Pod, p.Node, p.State, p.Message})
			}
			return table(c.OutOrStdout(), []string{"NAMESPACE", "POD", "NODE", "STATE", "MESSAGE"}, rows)
		},
	}
	k.add(c)
	c.Flags().IntVar(&port, "admin-port", 15014, "port of the operator's admin API")
	outputFlag(c, &format, "table", "json", "yaml")
	return c
}

package cli

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/aftermesh/aftermesh/pkg/cni"
)

func newCNI() *cobra.Command {
	c := &cobra.Command{
		Use:   "cni",
		Short: "Keep the CNI plugin that redirects pods' traffic on a node",
		Long: `The CNI plugin redirects the traffic of injected pods from outside of them, so that they need no NET_ADMIN. It is this program, called
by the container runtime under the name aftermesh-cni. 'cni install' runs in a DaemonSet (kubectl apply -k config/cni) and keeps it on the
node; 'cni uninstall' takes it away.`,
		Example: `  aftermesh cni install --node=$NODE_NAME
  aftermesh cni check`,
	}
	c.AddCommand(newCNIInstall(), newCNICheck(), newCNIUninstall())
	return c
}

// cniFlags say where things are on the node.
type cniFlags struct{ cni.Installer }

func (f *cniFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.BinDir, "bin-dir", "/host/cni/bin", "folder of the runtime's CNI plugins, as mounted here")
	flags.StringVar(&f.NetDir, "net-dir", "/host/cni/net.d", "folder of the runtime's network configurations, as mounted here")
	flags.StringVar(&f.HostNetDir, "host-net-dir", "/etc/cni/net.d", "the same folder on the host")
	flags.StringVar(&f.RecordDir, "record-dir", "/host/records", "folder for notes about redirected pods, as mounted here")
	flags.StringVar(&f.HostRecordDir, "host-record-dir", "/run/aftermesh-cni", "the same folder on the host")
}

func newCNIInstall() *cobra.Command {
	var f cniFlags
	var node, repair string
	var every time.Duration
	c := &cobra.Command{
		Use:   "install",
		Short: "Put the plugin into the node's network, and keep it there",
		Long: `Copies this program into the folder of CNI plugins, writes a credential for reading pods, and puts the plugin behind the others of the
node's network; then looks again and again, because tokens rotate and network add-ons rewrite their configuration. It stays in place when
this ends. Pods that are injected in CNI form and started without redirection get an event, or are deleted with --repair=delete.`,
		Example: `  aftermesh cni install --node=$NODE_NAME --repair=delete`,
		Args:    atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if repair != "event" && repair != "delete" && repair != "off" {
				return usageError{fmt.Errorf("--repair takes event, delete or off, not %q", repair)}
			}
			if node == "" && repair != "off" {
				return usageError{errors.New("--node says which node this is; needed unless --repair=off")}
			}
			var err error
			if f.Program, err = os.Executable(); err != nil {
				return err
			}
			if f.APIServer, err = cni.APIServerURL(os.Getenv); err != nil {
				return err
			}
			if f.Log, err = newLogger("info"); err != nil {
				return err
			}
			f.ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"
			var watching sync.WaitGroup
			defer watching.Wait()
			if repair != "off" {
				w, err := f.watcher(node, repair == "delete")
				if err != nil {
					return err
				}
				watching.Go(func() { w.Run(c.Context(), every) })
			}
			f.Run(c.Context(), every)
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVar(&node, "node", "", "name of this node")
	c.Flags().StringVar(&repair, "repair", "event", "what to do about pods without redirection: event, delete or off")
	c.Flags().DurationVar(&every, "every", 5*time.Second, "how often to look")
	return c
}

func (f *cniFlags) watcher(node string, remove bool) (*cni.Watcher, error) {
	cfg, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cfg)
	return &cni.Watcher{Client: client, Node: node, RecordDir: f.RecordDir, Delete: remove, Log: f.Log}, err
}

func newCNICheck() *cobra.Command {
	var f cniFlags
	c := &cobra.Command{
		Use: "check", Short: "Say whether the plugin is in place on this node", Example: "  aftermesh cni check", Args: atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.InPlace(); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "the plugin is in place")
			return nil
		},
	}
	f.add(c)
	return c
}

func newCNIUninstall() *cobra.Command {
	var f cniFlags
	c := &cobra.Command{
		Use: "uninstall", Short: "Remove the plugin from the node's network", Example: "  aftermesh cni uninstall", Args: atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.Remove(); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "the plugin is gone; pods in CNI form that start now are not redirected")
			return nil
		},
	}
	f.add(c)
	return c
}

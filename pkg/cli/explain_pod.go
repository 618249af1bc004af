package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// podAnswer is what "explain pod" says.
type podAnswer struct {
	Pod string `json:"pod"`
	// Injected is how the pod was injected; absent if it was not.
	Injected *inject.Status `json:"injected,omitempty"`
	// Now is what the webhook would decide about such a pod now.
	Now inject.Report `json:"now"`
	// Refused is what kubelet and Prometheus probe without effect, because the listeners are STRICT; Remedy says what to do about it.
	Refused []string `json:"refused,omitempty"`
	Remedy  string   `json:"remedy,omitempty"`
	// Redirect says what the pod's redirect step does, Port the same of the ports that were asked for.
	Redirect []string `json:"redirect,omitempty"`
	Port     []string `json:"port,omitempty"`
}

func newExplainPod() *cobra.Command {
	var k kubeFlags
	var format string
	var numbers []int
	c := &cobra.Command{
		Use:   "pod NAMESPACE/POD",
		Short: "Say why a pod is in the mesh or not, and what redirect does to its connections",
		Long: `Reads a pod and the objects that decide about it, and says how it was injected, what the webhook would decide about it now and
why, in the webhook's own words, which probes its listeners refuse, and which connections are redirected. With --port it says what happens
to connections of that port.`,
		Example: `  aftermesh explain pod shop/front-6d4cf56db6-abcde
  aftermesh explain pod shop/front-6d4cf56db6-abcde --port 8080,3306`,
		Args: exactly(1, "a pod as NAMESPACE/POD"),
		RunE: func(c *cobra.Command, args []string) error {
			namespace, name, ok := strings.Cut(args[0], "/")
			if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
				return usageError{fmt.Errorf("expected a pod as NAMESPACE/POD, not %q", args[0])}
			}
			ports, err := tcpPorts("--port", numbers)
			if err != nil {
				return err
			}
			cfg, _, err := k.load()
			if err != nil {
				return err
			}
			cl, err := client.New(cfg, client.Options{Scheme: controllers.Scheme()})
			if err != nil {
				return err
			}
			a, err := explainPod(c.Context(), cl, client.ObjectKey{Namespace: namespace, Name: name}, ports)
			if err != nil {
				return err
			}
			if format != "text" {
				return print(c.OutOrStdout(), format, a)
			}
			a.print(c.OutOrStdout())
			return nil
		},
	}
	k.addContext(c)
	c.Flags().IntSliceVar(&numbers, "port", nil, "TCP ports to explain; repeatable")
	outputFlag(c, &format, "text", "json", "yaml")
	return c
}

// tcpPorts are numbers that are ports.
func tcpPorts(flag string, numbers []int) ([]uint16, error) {
	var out []uint16
	for _, n := range numbers {
		if n < 1 || n > math.MaxUint16 {
			return nil, usageError{fmt.Errorf("%s takes 1 to %d, not %d", flag, math.MaxUint16, n)}
		}
		out = append(out, uint16(n))
	}
	return out, nil
}

func explainPod(ctx context.Context, c client.Client, key client.ObjectKey, ports []uint16) (*podAnswer, error) {
	var pod corev1.Pod
	if err := c.Get(ctx, key, &pod); err != nil {
		return nil, err
	}
	o, err := readObjects(ctx, c, key.Namespace)
	if err != nil {
		return nil, err
	}
	a := &podAnswer{Pod: key.String()}
	if s, ok := inject.ReadStatus(&pod); ok {
		a.Injected = &s
		a.refuse(&pod, o)
	}
	a.Now = decideNow(&pod, o)
	who, plan, err := inject.RedirectionOf(&pod)
	switch {
	case err != nil:
		a.Redirect = []string{err.Error()}
	case who == inject.NoRedirector:
		a.Redirect = []string{"nothing is redirected: the pod has no redirect step"}
	default:
		a.Redirect = plan.Describe()
		if who == inject.CNIPlugin {
			a.Redirect = append(a.Redirect, "by the CNI plugin of its node")
		}
		for _, port := range ports {
			a.Port = append(a.Port, plan.Port(port)...)
		}
	}
	return a, nil
}

// readObjects reads what the webhook decides about the pods of a namespace by.
func readObjects(ctx context.Context, c client.Client, namespace string) (inject.Objects, error) {
	var ns corev1.Namespace
	var nodes meshv1beta2.VirtualNodeList
	var gateways meshv1beta2.VirtualGatewayList
	var meshes meshv1beta2.MeshList
	if err := errors.Join(
		c.Get(ctx, client.ObjectKey{Name: namespace}, &ns),
		c.List(ctx, &nodes, client.InNamespace(namespace)), c.List(ctx, &gateways, client.InNamespace(namespace)), c.List(ctx, &meshes),
	); err != nil {
		return inject.Objects{}, err
	}
	o := inject.Objects{Namespace: namespace, NamespaceLabels: ns.Labels}
	for i := range nodes.Items {
		o.VirtualNodes = append(o.VirtualNodes, &nodes.Items[i])
	}
	for i := range gateways.Items {
		o.VirtualGateways = append(o.VirtualGateways, &gateways.Items[i])
	}
	for i := range meshes.Items {
		o.Meshes = append(o.Meshes, &meshes.Items[i])
	}
	return o, nil
}

// refuse notes what the listeners refuse to kubelet and Prometheus, and what to do about it.
func (a *podAnswer) refuse(pod *corev1.Pod, o inject.Objects) {
	for _, x := range refusedNow(pod, o) {
		a.Refused = append(a.Refused, x.String())
	}
	switch {
	case len(a.Refused) == 0:
	case inject.KeepsProbes(pod):
		a.Remedy = "the pod's annotation aftermesh.dev/rewrite-probes: disabled leaves it so; remove it and restart the pod"
	default:
		a.Remedy = fmt.Sprintf("run: aftermesh restart -n %s --outdated; %s", pod.Namespace, inTime)
	}
}

// decideNow adds to the decision what keeps the API server from asking at all.
func decideNow(pod *corev1.Pod, o inject.Objects) inject.Report {
	value, labelled := o.NamespaceLabels[meshv1beta2.LabelInject]
	if !labelled || !slices.Contains([]string{"enabled", "disabled"}, value) || o.Namespace == "kube-system" || o.Namespace == systemNamespace {
		return inject.Report{Pod: o.Namespace + "/" + pod.Name, Outcome: inject.Untouched, Reason: fmt.Sprintf(
			"the webhook is not asked about namespace %s; to take part: kubectl label namespace %s %s=enabled", o.Namespace, o.Namespace, meshv1beta2.LabelInject)}
	}
	d := inject.Decide(pod, o)
	return inject.Report{Pod: o.Namespace + "/" + pod.Name, Outcome: d.Outcome, Reason: d.Reason, Warnings: d.Warnings}
}

func (a *podAnswer) print(w io.Writer) {
	if a.Injected != nil {
		fmt.Fprintf(w, "%s runs as %s, injected by %s\n", a.Pod, a.Injected.Node, a.Injected.Version)
	} else {
		fmt.Fprintf(w, "%s has no proxy of this mesh\n", a.Pod)
	}
	fmt.Fprintf(w, "a new pod like it would be %s: %s\n", a.Now.Outcome, a.Now.Reason)
	for _, warning := range a.Now.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", warning)
	}
	for _, asked := range a.Refused {
		fmt.Fprintf(w, "%s: the listener is STRICT and refuses that\n", asked)
	}
	if a.Remedy != "" {
		fmt.Fprintf(w, "  %s\n", a.Remedy)
	}
	for _, line := range append(a.Redirect, a.Port...) {
		fmt.Fprintln(w, line)
	}
}

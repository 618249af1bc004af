package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/source"
)

// offlineCA stands for the root that only the operator of a cluster has.
const offlineCA = "-----BEGIN CERTIFICATE-----\nthe operator's root stands here\n-----END CERTIFICATE-----\n"

func newInject() *cobra.Command {
	var f fileFlags
	var format string
	c := &cobra.Command{
		Use:   "inject -f PATH",
		Short: "Print pods as the webhook would inject them, or why it would not",
		Long: `Reads workloads (Pods, Deployments and so on) together with the Mesh, VirtualNode and Namespace objects that decide about them,
and prints the pod of each as the webhook would make it: YAML documents, or one List in JSON with -o json. What is decided, and why,
goes to standard error.`,
		Example: `  aftermesh inject -f manifests/ > injected.yaml
  aftermesh inject -f manifests/ -o json | jq '.items[].spec.initContainers[].name'`,
		Args: atMost(0, "no arguments, manifests are given by -f"),
		RunE: func(c *cobra.Command, _ []string) error {
			files, err := f.read(c.InOrStdin())
			if err != nil {
				return err
			}
			for _, l := range readFindings(files) {
				fmt.Fprintln(c.ErrOrStderr(), l)
			}
			if len(files.Other) == 0 {
				return fmt.Errorf("no Pod and no workload with a pod template is in %s: nothing was injected", strings.Join(f.paths, ", "))
			}
			return injectAll(c, files, f.namespace, format)
		},
	}
	f.add(c)
	outputFlag(c, &format, "yaml", "json")
	return c
}

func injectAll(c *cobra.Command, files *source.Files, namespace, format string) error {
	pods := []*corev1.Pod{}
	cfg := inject.Defaults()
	cfg.Version, cfg.ControlPlane.CA = Version, offlineCA
	bad := len(files.Faults) > 0
	for _, d := range files.Other {
		pod, ns, err := podOf(d, namespace)
		if err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "%s:%d: %v\n", d.File, d.Line, err)
			bad = true
			continue
		}
		answer, err := inject.Admit(pod, injectObjects(files, ns), cfg)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s:%d: %s\n", d.File, d.Line, answer.Report)
		if answer.Report.Outcome == inject.Denied {
			bad = true
			continue
		}
		out := answer.Pod
		if out == nil {
			out = pod
		}
		pods = append(pods, out)
	}
	if err := printPods(c.OutOrStdout(), format, pods); err != nil {
		return err
	}
	if bad {
		return errFault
	}
	return nil
}

// printPods writes pods as YAML documents, or as one List in JSON.
func printPods(w io.Writer, format string, pods []*corev1.Pod) error {
	if format == "json" {
		return print(w, format, map[string]any{"apiVersion": "v1", "kind": "List", "items": pods})
	}
	for _, p := range pods {
		y, err := yaml.Marshal(p)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "---\n%s", y)
	}
	return nil
}

// podOf takes the pod out of a workload.
func podOf(d source.Document, namespace string) (*corev1.Pod, string, error) {
	pod := &corev1.Pod{}
	if d.Kind.Kind == "Pod" {
		if err := yaml.Unmarshal(d.JSON, pod); err != nil {
			return nil, "", err
		}
	} else {
		var w struct {
			Metadata struct{ Name, Namespace string }
			Spec     struct {
				Template    corev1.PodTemplateSpec
				JobTemplate struct {
					Spec struct{ Template corev1.PodTemplateSpec }
				}
			}
		}
		if err := yaml.Unmarshal(d.JSON, &w); err != nil {
			return nil, "", err
		}
		t := w.Spec.Template
		if d.Kind.Kind == "CronJob" {
			t = w.Spec.JobTemplate.Spec.Template
		}
		pod.ObjectMeta, pod.Spec = t.ObjectMeta, t.Spec
		pod.GenerateName, pod.Namespace = w.Metadata.Name+"-", w.Metadata.Namespace
	}
	pod.APIVersion, pod.Kind = "v1", "Pod"
	if pod.Namespace == "" {
		pod.Namespace = namespace
	}
	return pod, pod.Namespace, nil
}

// injectObjects are the objects that decide about pods of a namespace. Objects in files carry no mesh reference yet; the only
// Mesh there is stands in.
func injectObjects(files *source.Files, namespace string) inject.Objects {
	o := inject.Objects{Namespace: namespace, Meshes: input.Of[*meshv1beta2.Mesh](&files.Objects)}
	for _, n := range files.Objects.Namespaces {
		if n.Name == namespace {
			o.NamespaceLabels = n.Labels
		}
	}
	var ref *meshv1beta2.MeshReference
	if len(o.Meshes) == 1 {
		ref = &meshv1beta2.MeshReference{Name: o.Meshes[0].Name, UID: o.Meshes[0].UID}
	}
	for n := range input.All[*meshv1beta2.VirtualNode](&files.Objects) {
		if n.Spec.MeshRef == nil {
			n.Spec.MeshRef = ref
		}
		o.VirtualNodes = append(o.VirtualNodes, n)
	}
	for g := range input.All[*meshv1beta2.VirtualGateway](&files.Objects) {
		if g.Spec.MeshRef == nil {
			g.Spec.MeshRef = ref
		}
		o.VirtualGateways = append(o.VirtualGateways, g)
	}
	return o
}

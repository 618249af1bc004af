package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/translate"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

func newTranslate() *cobra.Command {
	var f fileFlags
	var format, proxy string
	var static bool
	c := &cobra.Command{
		Use:   "translate -f PATH --proxy NAMESPACE/NAME",
		Short: "Print the Envoy resources that a proxy would get",
		Long: `Compiles manifests as the operator does and prints what the proxies of one VirtualNode or VirtualGateway would get.
Pods are not known offline, so backends are reached by their DNS names. What a cluster would refuse is left out, goes to standard
error, and makes the exit code 1.

--static prints one complete configuration instead, which 'envoy --mode validate' takes; Envoy 1.37
needs --allow-unknown-static-fields with it.`,
		Example: `  aftermesh translate -f manifests/ --proxy shop/front
  aftermesh translate -f manifests/ --proxy shop/front --static > front.yaml && envoy --mode validate -c front.yaml`,
		Args: atMost(0, "no arguments, manifests are given by -f"),
		RunE: func(c *cobra.Command, _ []string) error {
			s, fault := f.compile(c)
			if s == nil {
				return fault
			}
			g, err := findGroup(s, proxy)
			if err != nil && fault != nil {
				return fmt.Errorf("%w; correct the errors above first", err)
			} else if err != nil {
				return err
			}
			if err := s.Failed[g.ID]; err != nil {
				return err
			}
			return cmp.Or(printSet(c.OutOrStdout(), format, g, s.Sets[g.ID], static), fault)
		},
	}
	f.add(c)
	c.Flags().StringVar(&proxy, "proxy", "", "VirtualNode or VirtualGateway as namespace/name, or a node id (mesh/<mesh>/virtualNode/<name>)")
	c.Flags().BoolVar(&static, "static", false, "print one complete static configuration")
	outputFlag(c, &format, "yaml", "json")
	return c
}

// findGroup returns the group of a node named by namespace and name or by its node id.
func findGroup(s *pipeline.Snapshot, proxy string) (*mesh.Group, error) {
	var known []string
	for _, g := range s.Result.Model.Groups {
		name := g.Workload.Object.Namespace + "/" + g.Workload.Object.Name
		if proxy == name || proxy == g.ID {
			return g, nil
		}
		known = append(known, name)
	}
	slices.Sort(known)
	have := "they hold no VirtualNode or VirtualGateway"
	if len(known) > 0 {
		have = "they hold: " + strings.Join(known, ", ")
	}
	if proxy == "" {
		return nil, usageError{fmt.Errorf("--proxy is missing: name a VirtualNode or VirtualGateway of the manifests as namespace/name; %s", have)}
	}
	return nil, usageError{fmt.Errorf("--proxy %q is not in the manifests; %s", proxy, have)}
}

// sections are the resource types in the order in which they are printed.
var sections = []struct{ name, typeURL string }{
	{"listeners", xds.ListenerType},
	{"routes", xds.RouteType},
	{"clusters", xds.ClusterType},
	{"endpoints", xds.EndpointType},
	{"secrets", xds.SecretType},
}

func printSet(w io.Writer, format string, g *mesh.Group, set *xds.Set, static bool) error {
	if static {
		b, err := translate.Static(g, set)
		if err != nil {
			return err
		}
		js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
		if err != nil {
			return err
		}
		return print(w, format, json.RawMessage(js))
	}
	out := map[string][]json.RawMessage{}
	for _, s := range sections {
		for _, r := range set.Resources(s.typeURL) {
			m, err := r.Message()
			if err != nil {
				return err
			}
			js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				return err
			}
			out[s.name] = append(out[s.name], js)
		}
	}
	if format == "json" {
		return print(w, format, out)
	}
	for _, k := range slices.Sorted(maps.Keys(out)) {
		fmt.Fprintf(w, "# %s: %d\n", k, len(out[k]))
	}
	return print(w, format, out)
}

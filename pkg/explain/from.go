package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// From explains a request of the workload that from names as namespace/name or by its node id. Of several groups of one workload
// the first counts. The error lists what there is when from is unknown.
func From(m *mesh.Model, sets map[string]*xds.Set, from string, r *Request) (*Answer, error) {
	var known []string
	for _, g := range m.Groups {
		name := g.Workload.Object.Namespace + "/" + g.Workload.Object.Name
		if (from == name || from == g.ID) && sets[g.ID] != nil {
			return Explain(g, sets[g.ID], r)
		}
		known = append(known, name)
	}
	slices.Sort(known)
	have := "there is no VirtualNode or VirtualGateway"
	if known = slices.Compact(known); len(known) > 0 {
		have = "there are: " + strings.Join(known, ", ")
	}
	return nil, fmt.Errorf("%q is no VirtualNode or VirtualGateway with proxies; %s", from, have)
}

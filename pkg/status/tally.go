package status

import (
	"fmt"
	"math"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// tally counts the proxies that depend on an object.
type tally struct {
	// all are the counted proxies, there those that run its generation, unknown those of which nobody knows.
	all, there, unknown int
	// rejected is the first refusal among the proxies of the object's namespace that do not run it, foreign how many of other namespaces
	// refuse something: their words are not shown to others than their owners.
	rejected string
	foreign  int
}

// refusal says who refuses what the object asks for; empty if nobody does.
func (t tally) refusal() string {
	switch {
	case t.rejected != "":
		return t.rejected
	case t.foreign > 0:
		return fmt.Sprintf("%d proxies of other namespaces refuse their configuration", t.foreign)
	}
	return ""
}

// group is what the proxies of one group have in common.
type group struct {
	proxies []mesh.Proxy
	// least is the oldest snapshot that one of them is at.
	least uint64
}

// pass is what one computation looks up for every object.
type pass struct {
	in       Input
	problems map[mesh.Object][]mesh.Problem
	groups   map[string]*group
	// routes are the names of the Route objects of each router, as far as they are served.
	routes map[mesh.Object][]string
	// outside are the names of the pods of each node or gateway that run without a proxy.
	outside map[mesh.Object][]string
	// refused are those whose probes the listeners refuse, with the ports.
	refused map[mesh.Object][]string
}

func newPass(in Input) *pass {
	p := &pass{in: in, problems: map[mesh.Object][]mesh.Problem{}, groups: map[string]*group{}, routes: map[mesh.Object][]string{}, outside: map[mesh.Object][]string{}, refused: map[mesh.Object][]string{}}
	for _, f := range in.Result.Problems {
		p.problems[f.Object] = append(p.problems[f.Object], f)
	}
	for _, x := range in.Result.Outside {
		p.outside[x.Object] = append(p.outside[x.Object], x.Pod.Name)
	}
	for _, x := range in.Result.Refused {
		ports := strings.ReplaceAll(strings.Trim(fmt.Sprint(x.Ports), "[]"), " ", ", ")
		p.refused[x.Object] = append(p.refused[x.Object], fmt.Sprintf("%s (%s)", x.Pod.Name, ports))
	}
	for _, x := range in.Result.Model.Proxies {
		if !x.Counted {
			continue
		}
		g := p.groups[x.Group]
		if g == nil {
			g = &group{least: math.MaxUint64}
			p.groups[x.Group] = g
		}
		g.proxies = append(g.proxies, x)
		if s := in.Proxies[x.ID]; s.Unknown {
			g.least = 0
		} else {
			g.least = min(g.least, s.Acked)
		}
	}
	for r := range input.All[*meshv1beta2.Route](in.Objects) {
		if !whole(p.problems[input.AppMesh("Route", r.Namespace, r.Name)]) {
			of := input.AppMesh("VirtualRouter", r.Namespace, r.Spec.VirtualRouterRef.Name)
			p.routes[of] = append(p.routes[of], r.Name)
		}
	}
	return p
}

// count counts the proxies that depend on an object. In most groups every proxy is there, and no proxy has to be looked at.
func (p *pass) count(id mesh.Object) tally {
	var t tally
	if id.Kind == "Mesh" {
		return t
	}
	since := max(p.in.Introduced(id), 1)
	for _, d := range p.in.Result.Model.Dependents(id) {
		g := p.groups[d.ID]
		if g == nil {
			continue
		}
		t.all += len(g.proxies)
		if g.least >= since {
			t.there += len(g.proxies)
			continue
		}
		for _, x := range g.proxies {
			switch s := p.in.Proxies[x.ID]; {
			case s.Unknown:
				t.unknown++
			case s.Acked >= since:
				t.there++
			case s.Rejected != "" && x.Namespace != id.Namespace:
				t.foreign++
			case s.Rejected != "" && t.rejected == "":
				t.rejected = fmt.Sprintf("pod %s/%s refuses %s", x.Namespace, x.Name, s.Rejected)
			}
		}
	}
	return t
}

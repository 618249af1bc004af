package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Translator makes sets of Envoy resources. It remembers what it made in the last pass, so use one for the life of a pipeline;
// a fresh one gives the same bytes. Calls must not overlap.
type Translator struct {
	resources memo[made]
	upstreams memo[upstream]
	hosts     memo[*hostLeaf]
	sets      memo[setLeaf]
}

// setLeaf is a set with the faults of its parts.
type setLeaf struct {
	set    *xds.Set
	faults []Fault
}

// Translate returns one set per group, by group id, and what had to be left out of them. A group that cannot be translated at all is
// missing and reported under its id; that is a fault of ours, never of a user, and the caller keeps the group's last set.
func (t *Translator) Translate(m *mesh.Model) (map[string]*xds.Set, []Fault, map[string]error) {
	sets := make(map[string]*xds.Set, len(m.Groups))
	var faults []Fault
	var failed map[string]error
	for _, g := range m.Groups {
		s, err := t.group(g)
		if err != nil {
			if failed == nil {
				failed = map[string]error{}
			}
			failed[g.ID] = fmt.Errorf("translate group %s: %w", g.ID, err)
			continue
		}
		sets[g.ID] = s.set
		faults = append(faults, s.faults...)
	}
	t.resources.turn()
	t.upstreams.turn()
	t.hosts.turn()
	t.sets.turn()
	return sets, sortFaults(faults), failed
}

// group returns the set of one group: the remembered one when neither its workload nor any endpoint changed.
func (t *Translator) group(g *mesh.Group) (_ setLeaf, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	b := builder{t: t, g: g}
	b.collectSecrets()
	return t.sets.get(b.key(), b.build)
}

// builder assembles the set of one group.
type builder struct {
	t         *Translator
	g         *mesh.Group
	secrets   []mesh.Material
	resources []*xds.Resource
	faults    []Fault
}

// key covers everything that the set is made from.
func (b *builder) key() mesh.Hash {
	parts := make([]mesh.Hash, 0, 2+len(b.g.Workload.Destinations))
	parts = append(parts, b.g.Workload.Fingerprint, mesh.Fingerprint(b.g.Profile))
	for _, d := range b.g.Workload.Destinations {
		if d.Endpoints != nil {
			parts = append(parts, d.Endpoints.Fingerprint)
		}
	}
	for _, m := range b.secrets {
		if m.Secret != nil {
			parts = append(parts, m.Secret.Version)
		}
	}
	return mesh.Join(parts)
}

func (b *builder) build() (setLeaf, error) {
	for _, step := range []func() error{b.listeners, b.routes, b.clusters, b.secretResources} {
		if err := step(); err != nil {
			return setLeaf{}, err
		}
	}
	return setLeaf{xds.NewSet(b.resources...), sortFaults(b.faults)}, nil
}

// add adds what build returns, or what is remembered under the key. A fault without an object is the workload's.
func (b *builder) add(key mesh.Hash, build func() made) error {
	m, err := b.t.resources.get(key, func() (made, error) { return build(), nil })
	if m.resource != nil {
		b.resources = append(b.resources, m.resource)
	}
	b.fault(m.faults...)
	return err
}

func (b *builder) fault(faults ...Fault) {
	for _, f := range faults {
		f.Object = cmp.Or(f.Object, b.g.Workload.Object)
		b.faults = append(b.faults, f)
	}
}

func (b *builder) listener(in *listenerInput) error {
	return b.add(mesh.Combine("listener", mesh.Fingerprint(in)), func() made { return listener(in) })
}

// routes adds a route configuration for each name that listeners have.
func (b *builder) routes() error {
	seen := map[string]bool{}
	for _, l := range slices.Concat(b.g.Workload.Inbound, b.g.Workload.Outbound) {
		name := l.RouteConfiguration
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		if err := b.add(mesh.Combine("routes", name, l.Routes.Fingerprint), func() made { return b.t.routeConfiguration(name, l.Routes) }); err != nil {
			return err
		}
	}
	return nil
}

// clusters adds a cluster per destination and, where the addresses are known here, its assignment.
func (b *builder) clusters() error {
	for _, d := range b.g.Workload.Destinations {
		facts := proxyFacts(d, b.g.Profile)
		key := d.Fingerprint
		if facts != (mesh.Profile{}) {
			key = mesh.Combine(key, mesh.Fingerprint(facts))
		}
		u, err := b.t.upstreams.get(key, func() (upstream, error) {
			u, err := upstreamCluster(d, facts)
			if err != nil {
				u = upstream{fault: newFault(d.Object, "cluster "+d.Cluster, err)}
			}
			return u, nil
		})
		if err != nil {
			return err
		}
		if u.cluster == nil {
			b.fault(u.fault)
			continue
		}
		b.resources = append(b.resources, u.cluster)
		if u.service == "" {
			continue
		}
		key = mesh.Combine("endpoints", u.service, d.Endpoints.Fingerprint, strconv.Itoa(int(healthPort(d))))
		if err := b.add(key, func() made {
			r, err := xds.NewResource(u.service, assignment(u.service, d.Endpoints.List, healthPort(d)))
			if err != nil {
				// An assignment without endpoints takes its place: Envoy waits for every cluster's.
				empty, _ := xds.NewResource(u.service, assignment(u.service, nil, 0))
				return made{empty, []Fault{newFault(d.Object, "endpoints of "+d.Cluster, err)}}
			}
			return made{resource: r}
		}); err != nil {
			return err
		}
	}
	return nil
}

// distinct returns names without repetitions, in order of first use.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	out := make([]string, 0, len(names))
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

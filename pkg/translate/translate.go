package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Translator makes sets of Envoy resources. It remembers what it made in the last pass, so use one for the life of a pipeline;
// a fresh one gives the same bytes. Calls must not overlap.
type Translator struct {
	resources memo[made]
	upstreams memo[upstream]
	hosts     memo[hostLeaf]
	sets      memo[setLeaf]
}

// hostLeaf is the virtual host of a service on one port.
type hostLeaf struct {
	host   *routev3.VirtualHost
	routes routeList
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
	b.collectDestinations()
	b.collectSecrets()
	return t.sets.get(b.key(), b.build)
}

// builder assembles the set of one group.
type builder struct {
	t            *Translator
	g            *mesh.Group
	destinations []*mesh.Destination
	secrets      []mesh.Material
	resources    []*xds.Resource
	faults       []Fault
}

// collectDestinations finds each distinct destination of the workload's services, in the order of services, ports and routes.
func (b *builder) collectDestinations() {
	seen := make(map[string]bool, len(b.g.Workload.Backends))
	b.destinations = make([]*mesh.Destination, 0, len(b.g.Workload.Backends))
	for _, backend := range b.g.Workload.Backends {
		for _, p := range backend.Service.Ports {
			if b.g.Workload.Gateway != nil && !p.Protocol.IsHTTP() {
				continue
			}
			for _, r := range p.Routes {
				for _, t := range r.Targets {
					if t.Destination != nil && !seen[t.Cluster] {
						seen[t.Cluster] = true
						b.destinations = append(b.destinations, t.Destination)
					}
				}
			}
		}
	}
}

// key covers everything that the set is made from.
func (b *builder) key() mesh.Hash {
	parts := make([]mesh.Hash, 0, 2+len(b.destinations))
	parts = append(parts, b.g.Workload.Fingerprint, mesh.Fingerprint(b.g.Profile))
	for _, d := range b.destinations {
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
	steps := []func() error{b.inbound, b.outbound, b.fixedClusters, b.backendClusters, b.secretResources}
	if b.g.Workload.Gateway != nil {
		steps = []func() error{b.entrances, b.secondHop, b.backendClusters, b.secretResources}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return setLeaf{}, err
		}
	}
	return setLeaf{xds.NewSet(b.resources...), sortFaults(b.faults)}, nil
}

// leaf adds the resource made from the given input by build, or the remembered one. One that Envoy would refuse is left out as a fault of
// the workload.
func (b *builder) leaf(kind string, input any, build func() (*xds.Resource, error)) error {
	return b.add(mesh.Combine(kind, mesh.Fingerprint(input)), func() made {
		r, err := build()
		if err != nil {
			return made{faults: []Fault{newFault(mesh.Object{}, kind, err)}}
		}
		return made{resource: r}
	})
}

// add adds what build returns, or what is remembered under the key. A fault without an object is the workload's.
func (b *builder) add(key mesh.Hash, build func() made) error {
	m, err := b.t.resources.get(key, func() (made, error) { return build(), nil })
	if m.resource != nil {
		b.resources = append(b.resources, m.resource)
	}
	for _, f := range m.faults {
		f.Object = cmp.Or(f.Object, b.g.Workload.Object)
		b.faults = append(b.faults, f)
	}
	return err
}

func (b *builder) listener(in *listenerInput) error {
	return b.add(mesh.Combine("listener", mesh.Fingerprint(in)), func() made { return listener(in) })
}

// inbound adds the inbound listener, and per port the route configuration and the cluster of the application.
func (b *builder) inbound() error {
	in := inboundInput(b.g)
	if in == nil {
		return nil
	}
	if err := b.listener(in); err != nil {
		return err
	}
	w := b.g.Workload
	for _, l := range w.Listeners {
		name := localCluster(w.ID, l)
		input := struct {
			Name     string
			Listener *mesh.Listener
			Address  string
			HTTP     mesh.HTTPOptions
		}{name, l, localAddress(w.IPPreference), w.HTTP}
		if err := b.leaf("local", &input, func() (*xds.Resource, error) {
			return loopbackCluster(name, l.Protocol, l.Pool, w.HTTP, toApplication, mesh.Endpoint{Address: input.Address, Port: l.Port})
		}); err != nil {
			return err
		}
		if !l.Protocol.IsHTTP() {
			continue
		}
		routes := struct {
			Routes, Host, Cluster string
			Protocol              mesh.Protocol
			Timeout               mesh.Timeout
		}{inboundRoutes(l), w.ID.Name, name, l.Protocol, l.Timeout}
		if err := b.leaf("inbound routes", &routes, func() (*xds.Resource, error) {
			host := anyHost(routes.Host, routes.Cluster, routes.Protocol, routes.Timeout)
			host.RetryPolicy = unreadRetry()
			return xds.NewResource(routes.Routes, &routev3.RouteConfiguration{
				Name: routes.Routes, VirtualHosts: []*routev3.VirtualHost{host},
			}, routes.Cluster)
		}); err != nil {
			return err
		}
	}
	return nil
}

// localAddress is where the application listens. Source: App Mesh user guide, IP preference.
func localAddress(p mesh.IPPreference) string {
	if p == mesh.IPv6Only || p == mesh.IPv6Preferred {
		return "::1"
	}
	return "127.0.0.1"
}

// outbound adds the outbound listener and a route configuration per HTTP port.
func (b *builder) outbound() error {
	if err := b.listener(outboundInput(b.g)); err != nil {
		return err
	}
	if in := inspectedInput(b.g); in != nil {
		if err := b.listener(in); err != nil {
			return err
		}
	}
	for _, p := range b.g.Workload.Outbound {
		if len(p.HTTP) == 0 {
			continue
		}
		if err := b.outboundRoutes(p); err != nil {
			return err
		}
	}
	return nil
}

// outboundRoutes adds the route configuration of one port: a virtual host per service, and one for unknown hosts when the
// mesh lets them through; otherwise they get a 404.
func (b *builder) outboundRoutes(p *mesh.OutboundPort) error {
	w := b.g.Workload
	name := outboundRoutes(p)
	parts := make([]mesh.Hash, 1, 1+len(p.HTTP))
	parts[0] = mesh.Combine("outbound routes", name, strconv.FormatBool(w.Egress.AllowAll), w.ID.Mesh)
	for _, s := range p.HTTP {
		parts = append(parts, s.Service.Fingerprint)
	}
	return b.add(mesh.Join(parts), func() made {
		hosts := newHostList(&routev3.RouteConfiguration{Name: name})
		if w.Egress.AllowAll {
			pass := passThroughCluster(w.ID.Mesh)
			hosts.reserve(anyHost(passThroughHost, pass, mesh.HTTP, unlimitedTime()), pass)
		}
		for _, s := range p.HTTP {
			leaf := b.host(s)
			hosts.add(s.Service.Object, leaf.host, leaf.routes)
		}
		return hosts.made()
	})
}

func (b *builder) host(s mesh.OutboundService) hostLeaf {
	key := mesh.Combine(s.Service.Fingerprint, strconv.Itoa(int(s.Port.Port)))
	leaf, _ := b.t.hosts.get(key, func() (hostLeaf, error) { return virtualHost(s.Service, s.Port), nil })
	return leaf
}

// fixedClusters adds the clusters that lead out of the mesh, as far as the outbound listener uses them.
func (b *builder) fixedClusters() error {
	w := b.g.Workload
	add := func(name string, build func() (*xds.Resource, error)) error {
		return b.leaf("fixed", &struct {
			Name      string
			KeepAlive *mesh.KeepAlive
			HTTP      mesh.HTTPOptions
		}{name, w.KeepAlive, w.HTTP}, build)
	}
	if slices.ContainsFunc(w.Outbound, func(p *mesh.OutboundPort) bool { return p.Inspect }) {
		name, path := inspectedCluster(w.ID.Mesh), inspectedPipe(w.ID)
		if err := b.leaf("pipe", &struct{ Name, Path string }{name, path}, func() (*xds.Resource, error) { return pipeCluster(name, path) }); err != nil {
			return err
		}
	}
	if len(w.Egress.Exempt) > 0 {
		name := amazonCluster(w.ID.Mesh)
		if err := add(name, func() (*xds.Resource, error) { return passThrough(name, w.KeepAlive, w.HTTP) }); err != nil {
			return err
		}
	}
	if w.Egress.AllowAll {
		name := passThroughCluster(w.ID.Mesh)
		if err := add(name, func() (*xds.Resource, error) { return passThrough(name, w.KeepAlive, w.HTTP) }); err != nil {
			return err
		}
	}
	if w.Egress.AllowAll || (len(w.Egress.Exempt) == 0 && len(w.Outbound) == 0) {
		name := closedCluster(w.ID.Mesh)
		return add(name, func() (*xds.Resource, error) { return closedTo(name) })
	}
	return nil
}

// backendClusters adds a cluster per destination and, where the addresses are known here, its assignment.
func (b *builder) backendClusters() error {
	for _, d := range b.destinations {
		key := d.Fingerprint
		if d.TLS != nil {
			key = mesh.Combine(key, strconv.FormatBool(b.g.Profile.SDS))
		}
		u, err := b.t.upstreams.get(key, func() (upstream, error) {
			u, err := upstreamCluster(d, b.g.Profile.SDS)
			if err != nil {
				u = upstream{fault: newFault(d.Object, "cluster "+d.Cluster, err)}
			}
			return u, nil
		})
		if err != nil {
			return err
		}
		if u.cluster == nil {
			b.faults = append(b.faults, u.fault)
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

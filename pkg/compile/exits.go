package compile

import (
	"fmt"
	"slices"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// exits are the ways out of a mesh, the same for all its nodes.
type exits struct {
	pass, exempt, closed *mesh.Destination
	// passHost takes requests of unknown hosts, passRest connections that nobody else takes, where everything may leave the mesh.
	passHost *mesh.Host
	passRest *mesh.Listener
	// exemptNames takes TLS connections for exempt names before anybody speaks, exemptInspected after their first bytes are known.
	exemptNames, exemptInspected *mesh.Listener
	// closedOwn close connections to the ports of the proxy itself, closedRest those that nobody takes: Envoy refuses a listener without
	// any chain.
	closedOwn  []*mesh.Listener
	closedRest *mesh.Listener
}

func newExits(m *meshInfo, exempt []string) *exits {
	destination := func(name string, d mesh.Destination) *mesh.Destination {
		d.Cluster = "cds_egress_" + m.name + "_" + name
		d.Fingerprint = mesh.Fingerprint(&d)
		return &d
	}
	original := mesh.Destination{Protocol: mesh.HTTP, Original: true, HTTP: m.http, KeepAlive: m.keepAlive}
	x := &exits{
		pass: destination("mesh-allow-all", original), exempt: destination("amazonaws", original),
		closed: destination("blackhole", mesh.Destination{Protocol: mesh.TCP}),
	}
	listener := func(port uint32, stats string, d *mesh.Destination, chains ...mesh.Chain) *mesh.Listener {
		return fingerprinted(&mesh.Listener{Port: port, StatPrefix: stats, Targets: only(d), Chains: chains})
	}
	// How long requests take that leave the mesh is no business of ours.
	var unlimited time.Duration
	x.passHost = anyHost(passThroughHost, x.pass, mesh.Timeout{PerRequest: &unlimited, Idle: &unlimited})
	x.passHost.Fingerprint = mesh.Fingerprint(x.passHost)
	const passName = "egress_mesh_allow_all"
	x.passRest = listener(0, "egress", x.pass, mesh.Chain{Name: passName}, mesh.Chain{Name: passName, Inspected: true})
	x.exemptNames = listener(httpsPort, "egress", x.exempt, mesh.Chain{Name: exemptName, ServerNames: exempt})
	x.exemptInspected = listener(httpsPort, "egress", x.exempt, mesh.Chain{Name: exemptName, ServerNames: exempt, Inspected: true})
	for _, port := range ownPorts {
		x.closedOwn = append(x.closedOwn, listener(port, "closed", x.closed, mesh.Chain{Name: fmt.Sprintf("closed_%d", port)}))
	}
	x.closedRest = listener(0, "closed", x.closed, mesh.Chain{Name: "closed"})
	return x
}

// exemptName is the name of the chain for exempt names.
const exemptName = "egress_amazonaws"

// ownPorts are the outbound ports that lead back to the proxy itself. Nothing is passed on to them.
var ownPorts = []uint32{meshv1beta2.PortInbound, meshv1beta2.PortOutbound}

func fingerprinted(l *mesh.Listener) *mesh.Listener {
	l.Fingerprint = mesh.Fingerprint(l)
	return l
}

// exitsOf returns the ways out of a mesh.
func (b *builder) exitsOf(m *meshInfo) *exits {
	if m.exits == nil {
		m.exits = newExits(m, b.in.Settings.EgressExempt)
	}
	return m.exits
}

// leave adds what takes the connections that are not to services of the mesh.
func (b *builder) leave(n *node, w *mesh.Workload, ports []*outboundPort) {
	x := b.exitsOf(n.mesh)
	if len(w.Egress.Exempt) > 0 {
		l := x.exemptNames
		if slices.ContainsFunc(ports, func(p *outboundPort) bool { return p.inspect && p.number == httpsPort }) {
			l = x.exemptInspected
		}
		w.Outbound, w.Destinations = append(w.Outbound, l), append(w.Destinations, x.exempt)
	}
	switch {
	case w.Egress.AllowAll:
		for _, l := range x.closedOwn {
			// A service of the mesh on such a port has its chain already, which leads there and not back to the proxy.
			if !slices.ContainsFunc(w.Outbound, func(o *mesh.Listener) bool { return o.Port == l.Port && takesAll(o) }) {
				w.Outbound = append(w.Outbound, l)
			}
		}
		w.Outbound, w.Destinations = append(w.Outbound, x.passRest), append(w.Destinations, x.pass, x.closed)
		// The inspector is always there, so that the first inspected port finds it.
		w.Inspector = b.inspectorOf(w.ID).Inspector
	case len(w.Outbound) == 0:
		w.Outbound, w.Destinations = append(w.Outbound, x.closedRest), append(w.Destinations, x.closed)
	}
}

// takesAll is true when a listener takes connections to its port before anybody speaks, whatever their address.
func takesAll(l *mesh.Listener) bool {
	return slices.ContainsFunc(l.Chains, func(c mesh.Chain) bool { return !c.Inspected && len(c.Addresses) == 0 })
}

// inspectorOf returns the destination that leads connections to the socket at which their first bytes are looked at. That is an abstract
// one, which needs neither a port nor a file and exists in the pod's network namespace only. It differs by workload because proxies of
// several may share a namespace outside of Kubernetes.
func (b *builder) inspectorOf(id mesh.WorkloadID) *mesh.Destination {
	return b.compiler.inspectors.get(id, func(id mesh.WorkloadID) *mesh.Destination {
		d := &mesh.Destination{
			Cluster: "cds_egress_" + id.Mesh + "_inspected", Protocol: mesh.TCP,
			Inspector: "@aftermesh_egress_" + mesh.Combine(id.String()).String()[:16],
		}
		d.Fingerprint = mesh.Fingerprint(d)
		return d
	})
}

// inspect leads the connections to a port that no address decides to the inspector.
func (b *builder) inspect(w *mesh.Workload, p *outboundPort) *mesh.Listener {
	d := b.inspectorOf(w.ID)
	if w.Inspector == "" {
		w.Inspector = d.Inspector
		w.Destinations = append(w.Destinations, d)
	}
	return &mesh.Listener{
		Port: p.number, StatPrefix: "inspect", Silent: true, Targets: only(d),
		Chains: []mesh.Chain{{Name: fmt.Sprintf("inspect_%d", p.number)}},
	}
}

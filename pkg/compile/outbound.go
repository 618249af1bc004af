package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// outboundPort is one port that applications dial and everything that may be meant by it. The address of a connection decides first,
// then its TLS server name, then whether it speaks HTTP; the entry with rest takes what is left. What nobody takes is no traffic of
// the mesh: it passes to where it wanted to go, or is closed.
type outboundPort struct {
	number uint32
	// protocol of the HTTP family that names the route configuration; empty when no HTTP service is on this port.
	protocol mesh.Protocol
	http     []outboundHTTP
	tcp      []outboundTCP
	// inspect is true where the first bytes of a connection to an unknown address decide: a TLS server name, or whether it is HTTP.
	inspect bool
}

// outboundHTTP is one HTTP service on an outbound port. Only on inspected ports, addresses lead to it.
type outboundHTTP struct {
	service   *mesh.Service
	host      *mesh.Host
	addresses []string
}

// outboundTCP is one other service on an outbound port.
type outboundTCP struct {
	service *mesh.Service
	port    *mesh.ServicePort
	// addresses lead to the service. They belong together and change rarely.
	addresses []string
	// podAddresses lead to the service too. They come and go one by one.
	podAddresses []string
	// serverNames lead TLS connections to unknown addresses to the service.
	serverNames []string
	// rest is true for the one entry that takes connections to unknown addresses. On an inspected port it takes no TLS.
	rest bool
}

// compileOutbound decides what happens on the ports of all backends, and on all others.
func (b *builder) compileOutbound(n *node, w *mesh.Workload) {
	ports := b.outboundPorts(n, w)
	const beside = 4 // those of leave
	w.Outbound = make([]*mesh.Listener, 0, len(ports)+beside)
	for _, p := range ports {
		if len(p.http) > 0 {
			w.Outbound = append(w.Outbound, b.httpListener(n, w, p))
		}
		for i := range p.tcp {
			w.Outbound = append(w.Outbound, b.tcpListener(n, p, i))
		}
		if p.inspect {
			w.Outbound = append(w.Outbound, b.inspect(w, p))
		}
	}
	b.leave(n, w, ports)
}

// outboundPorts sorts the ports of all backends out: which protocol a port has, and which service may use it.
func (b *builder) outboundPorts(n *node, w *mesh.Workload) []*outboundPort {
	var ports []*outboundPort
	hosts := map[uint32]map[string]*mesh.Service{}
	for _, be := range plainFirst(w.Backends) {
		for _, sp := range be.Service.Ports {
			i := slices.IndexFunc(ports, func(p *outboundPort) bool { return p.number == sp.Port }) // workloads call few ports
			if i < 0 {
				i, ports = len(ports), append(ports, &outboundPort{number: sp.Port})
			}
			p := ports[i]
			if !sp.Protocol.IsHTTP() {
				p.tcp = append(p.tcp, outboundTCP{service: be.Service, port: sp})
			} else if b.freeHost(n, hosts, be.Service, sp.Port) {
				if p.http == nil {
					p.http = make([]outboundHTTP, 0, len(w.Backends))
				}
				p.http = append(p.http, outboundHTTP{service: be.Service, host: hostFor(be.Service, sp)})
				p.protocol = broader(p.protocol, sp.Protocol)
			}
		}
	}
	for _, p := range ports {
		b.sharePort(n, p, w.Egress.AllowAll)
	}
	slices.SortFunc(ports, func(x, y *outboundPort) int { return cmp.Compare(x.number, y.number) })
	return ports
}

// httpPort is what the names of an HTTP port depend on.
type httpPort struct {
	protocol mesh.Protocol
	number   uint32
}

// httpNames are the names of an HTTP port, and its listener without routes, where connections to all addresses lead to the services.
type httpNames struct {
	chain, routes string
	all           mesh.Listener
}

func httpNamesOf(p httpPort) *httpNames {
	n := &httpNames{chain: fmt.Sprintf("egress_%s_%d", p.protocol, p.number), routes: fmt.Sprintf("rds_egress_%s_%d", p.protocol, p.number)}
	n.all = mesh.Listener{Port: p.number, StatPrefix: "egress", RouteConfiguration: n.routes, Chains: []mesh.Chain{{Name: n.chain}}}
	fingerprinted(&n.all)
	return n
}

// httpListener leads to the HTTP services of a port. Unknown hosts leave the mesh if it lets them, otherwise they get a 404.
func (b *builder) httpListener(n *node, w *mesh.Workload, p *outboundPort) *mesh.Listener {
	names := b.compiler.httpNames.get(httpPort{p.protocol, p.number}, httpNamesOf)
	r := &mesh.Routes{Hosts: make([]*mesh.Host, len(p.http), len(p.http)+1)}
	for i := range p.http {
		r.Hosts[i] = p.http[i].host
	}
	if w.Egress.AllowAll {
		r.Hosts = append(r.Hosts, b.exitsOf(n.mesh).passHost)
	}
	l := names.all
	l.Routes = r.Seal()
	if !p.inspect {
		return &l
	}
	l.Fingerprint = mesh.Hash{}
	l.Chains = make([]mesh.Chain, 0, 1+len(p.http))
	for i := range p.http {
		if s := &p.http[i]; len(s.addresses) > 0 {
			l.Chains = append(l.Chains, mesh.Chain{Name: names.chain + "_" + s.service.Name, Addresses: s.addresses})
		}
	}
	opening := mesh.ClearText
	if w.Egress.AllowAll {
		opening = mesh.ClearHTTP
	}
	l.Chains = append(l.Chains, mesh.Chain{Name: names.chain, Inspected: true, Opening: opening})
	return &l
}

// tcpKey is equal for entries of one service that have the same name.
type tcpKey struct {
	port *mesh.ServicePort
	name string
}

// tcpListener leads to the i-th TCP service of a port. Callers that reach it in the same way share it.
func (b *builder) tcpListener(n *node, p *outboundPort, i int) *mesh.Listener {
	t := &p.tcp[i]
	name := "egress_tcp_" + strconv.FormatUint(uint64(p.number), 10)
	if i > 0 {
		name += "_" + t.service.Name
	}
	chains := tcpChains(name, t, p.inspect)
	last := b.tcpListeners[tcpKey{t.port, name}]
	if last != nil && last.Object == t.service.Object && slices.EqualFunc(last.Chains, chains, sameChain) {
		return last
	}
	l := &mesh.Listener{Port: p.number, Object: t.service.Object, StatPrefix: "egress", Chains: chains}
	if len(t.port.Routes) > 0 {
		r := t.port.Routes[0]
		l.Targets, l.Idle = r.Targets, r.Timeout.Idle
	}
	if len(l.Targets) == 0 {
		// A router without a route for the port: the connection is closed, it does not pass the filter.
		l.Targets = []mesh.Target{{Cluster: "cds_egress_" + n.mesh.name + "_unresolved"}}
	}
	b.tcpListeners[tcpKey{t.port, name}] = fingerprinted(l)
	return l
}

func sameChain(x, y mesh.Chain) bool {
	return x.Name == y.Name && x.Inspected == y.Inspected && x.Opening == y.Opening &&
		slices.Equal(x.Addresses, y.Addresses) && slices.Equal(x.ServerNames, y.ServerNames)
}

// tcpChains are the connections to a port that mean one service.
func tcpChains(name string, t *outboundTCP, inspect bool) []mesh.Chain {
	var out []mesh.Chain
	switch {
	case t.rest && !inspect:
		out = append(out, mesh.Chain{Name: name})
	case len(t.addresses) > 0:
		out = append(out, mesh.Chain{Name: name, Addresses: t.addresses})
	}
	for _, a := range t.podAddresses {
		out = append(out, mesh.Chain{Name: name + "_" + a, Addresses: []string{a}})
	}
	if !inspect {
		return out
	}
	if len(t.serverNames) > 0 {
		out = append(out, mesh.Chain{Name: name, ServerNames: t.serverNames, Inspected: true, Opening: mesh.Encrypted})
	}
	if t.rest {
		out = append(out, mesh.Chain{Name: name + "_rest", Inspected: true, Opening: mesh.ClearText})
	}
	return out
}

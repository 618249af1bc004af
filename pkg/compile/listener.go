package compile

import (
	"fmt"
	"time"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// listener is a usable listener of a VirtualNode or VirtualGateway.
type listener struct {
	port     uint32
	protocol mesh.Protocol
	timeout  mesh.Timeout
	// pool bounds what the proxy sends on: to the application, or from a gateway.
	pool mesh.Pool
	// tls is nil for clear text.
	tls *mesh.ServerTLS
}

// maxHops is how many proxies a request may pass before that of the application: the two hops of a gateway, one of a sidecar.
const maxHops = 2

// inboundName names the filter chain of a listener.
func inboundName(l listener) string { return fmt.Sprintf("ingress_%s_%d", l.protocol, l.port) }

// inboundRoutes names the route configuration of a listener.
func inboundRoutes(l listener) string { return fmt.Sprintf("rds_ingress_%s_%d", l.protocol, l.port) }

// inboundStats is "ingress", or "ingress.<protocol>.<port>" as soon as the workload has several listeners.
// Source: App Mesh user guide, Envoy metrics with multiple listeners.
func inboundStats(l listener, several bool) string {
	if !several {
		return "ingress"
	}
	return fmt.Sprintf("ingress.%s.%d", l.protocol, l.port)
}

// application is what the way from a proxy to its own application depends on.
type application struct {
	mesh, node string
	port       uint32
	protocol   mesh.Protocol
	// several is true where the node has other listeners.
	several bool
	address string
	pool    mesh.Pool
	http    mesh.HTTPOptions
	// request and idle are the timeouts, unset below 0.
	request, idle time.Duration
}

// compileInbound decides how what is sent to a node reaches its application.
func (b *builder) compileInbound(n *node, w *mesh.Workload) {
	for _, l := range n.listeners {
		way := b.compiler.applications.get(application{
			mesh: w.ID.Mesh, node: w.ID.Name, port: l.port, protocol: l.protocol, several: len(n.listeners) > 1,
			address: applicationAddress(n.mesh.pref), pool: l.pool, http: n.mesh.http,
			request: orUnset(l.timeout.PerRequest), idle: orUnset(l.timeout.Idle),
		}, inboundOf)
		in := way.listener
		if l.tls != nil {
			encrypted := *in
			encrypted.TLS, encrypted.Fingerprint = l.tls, mesh.Hash{}
			in = &encrypted
		}
		w.Inbound = append(w.Inbound, in)
		w.Destinations = append(w.Destinations, way.destination)
	}
}

// applicationAddress is where the application listens. Source: App Mesh user guide, IP preference.
func applicationAddress(p mesh.IPPreference) string {
	if p == mesh.IPv6Only || p == mesh.IPv6Preferred {
		return "::1"
	}
	return "127.0.0.1"
}

func orUnset(d *time.Duration) time.Duration {
	if d == nil {
		return -1
	}
	return *d
}

func unlessUnset(d time.Duration) *time.Duration {
	if d < 0 {
		return nil
	}
	return &d
}

// inbound is a listener without its TLS, and the application that it leads to.
type inbound struct {
	listener    *mesh.Listener
	destination *mesh.Destination
}

func inboundOf(a application) *inbound {
	l := listener{port: a.port, protocol: a.protocol}
	d := &mesh.Destination{
		Cluster: fmt.Sprintf("cds_ingress_%s_%s_%s_%d", a.mesh, a.node, a.protocol, a.port),
		Port:    a.port, Protocol: a.protocol, Local: &mesh.Local{Address: a.address, Port: a.port},
		Pool: a.pool, HTTP: a.http,
	}
	d.Fingerprint = mesh.Fingerprint(d)
	out := &inbound{
		listener: &mesh.Listener{
			Port: a.port, Chains: []mesh.Chain{{Name: inboundName(l)}}, StatPrefix: inboundStats(l, a.several),
		},
		destination: d,
	}
	if !a.protocol.IsHTTP() {
		out.listener.Targets, out.listener.Idle = only(d), unlessUnset(a.idle)
		fingerprinted(out.listener)
		return out
	}
	out.listener.RouteConfiguration, out.listener.Hops = inboundRoutes(l), maxHops
	host := anyHost(a.node, d, mesh.Timeout{PerRequest: unlessUnset(a.request), Idle: unlessUnset(a.idle)})
	// Requests are repeated that the application certainly has not seen: nothing of them was sent, or it refused the stream. So it is safe
	// for every method.
	host.Retry = &mesh.Retry{On: []string{"reset-before-request", "refused-stream"}, Max: 1, SameEndpoint: true}
	host.Fingerprint = mesh.Fingerprint(host)
	out.listener.Routes = (&mesh.Routes{Hosts: []*mesh.Host{host}}).Seal()
	fingerprinted(out.listener)
	return out
}

// anyHost is the front-end's own host that takes every request to one destination.
func anyHost(name string, d *mesh.Destination, t mesh.Timeout) *mesh.Host {
	all := &mesh.Route{Match: mesh.Match{Path: "/"}, Targets: only(d), Timeout: t}
	return &mesh.Host{Name: name, Domains: []string{anyDomain}, Routes: []*mesh.Route{all}}
}

// only is the single target d.
func only(d *mesh.Destination) []mesh.Target {
	return []mesh.Target{{Cluster: d.Cluster, Weight: 1, Destination: d}}
}

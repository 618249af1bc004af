package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// node is a VirtualNode while it is compiled.
type node struct {
	object *meshv1beta2.VirtualNode
	self   mesh.Object
	mesh   *meshInfo
	name   string
	// nodeID is what id returned.
	nodeID   string
	selector labels.Selector // nil when the node selects no pods at all
	pods     []*input.Pod
	// lingering pods are endpoints that an edit took away a moment ago, see grace.go.
	lingering []*input.Pod
	// listeners are the usable ones, in the order written; destinations are what callers see of them, by port.
	listeners    []listener
	destinations map[uint32]*mesh.Destination
}

// compileDestinations decides what each node serves and how its callers reach it.
func (b *builder) compileDestinations() {
	b.selectPods()
	b.lingering()
	for _, n := range b.nodeOrder {
		n.destinations = map[uint32]*mesh.Destination{}
		for i := range n.object.Spec.Listeners {
			b.compileListener(n, i)
		}
		for i := range n.object.Spec.Listeners {
			l := &n.object.Spec.Listeners[i]
			port := uint32(l.PortMapping.Port)
			if slices.ContainsFunc(n.listeners, func(x listener) bool { return x.port == port }) && n.destinations[port] == nil {
				b.compileDestination(n, l)
			}
		}
	}
}

// reserved is true for ports of the proxy itself; validate reports listeners that have them.
func (b *builder) reserved(port uint32) bool {
	return meshv1beta2.ProxyPort(int64(port), b.in.Settings.AdminPort) != ""
}

func listenerPath(i int) string { return fmt.Sprintf("spec.listeners[%d]", i) }

// compileListener adds one listener unless its port is taken; validate reports that.
func (b *builder) compileListener(n *node, i int) {
	l := &n.object.Spec.Listeners[i]
	port := uint32(l.PortMapping.Port)
	path := listenerPath(i)
	if !b.isPort(n.self, path, l.PortMapping.Port) || b.reserved(port) ||
		slices.ContainsFunc(n.listeners, func(x listener) bool { return x.port == port }) {
		return
	}
	n.listeners = append(n.listeners, listener{
		port: port, protocol: mesh.Protocol(l.PortMapping.Protocol),
		timeout: listenerTimeout(l), pool: listenerPool(l), tls: b.nodeTLS(n, l, path+".tls"),
	})
}

// isPort reports numbers that are no ports. The API server refuses them, so they come from files.
func (b *builder) isPort(o mesh.Object, path string, port int64) bool {
	const most = 65535
	if port >= 1 && port <= most {
		return true
	}
	b.problem(mesh.Problem{Object: o, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonInvalidConfiguration, Path: path + ".portMapping.port",
		Message: fmt.Sprintf("%d is not a port, the listener is left out; ports are between 1 and %d", port, most)})
	return false
}

// listenerTimeout returns the block of the listener's own protocol; a block of another one is ignored.
// Source: App Mesh user guide, "the timeout protocol must be the listener's".
func listenerTimeout(l *meshv1beta2.Listener) mesh.Timeout {
	t := l.Timeout
	if t == nil {
		return mesh.Timeout{}
	}
	blocks := map[meshv1beta2.Protocol]*meshv1beta2.HTTPTimeout{
		meshv1beta2.ProtocolHTTP: t.HTTP, meshv1beta2.ProtocolHTTP2: t.HTTP2, meshv1beta2.ProtocolGRPC: t.GRPC,
	}
	own := l.PortMapping.Protocol
	if own == meshv1beta2.ProtocolTCP && t.TCP != nil {
		return mesh.Timeout{Idle: span(t.TCP.Idle)}
	}
	if h := blocks[own]; h != nil {
		return httpTimeout(h)
	}
	return mesh.Timeout{}
}

// listenerPool returns the limits of the listener's own protocol.
func listenerPool(l *meshv1beta2.Listener) mesh.Pool {
	p := l.ConnectionPool
	switch own := l.PortMapping.Protocol; {
	case p == nil:
		return mesh.Pool{}
	case own == meshv1beta2.ProtocolTCP && p.TCP != nil:
		return mesh.Pool{MaxConnections: limit(p.TCP.MaxConnections)}
	default:
		return httpPool(own, p.HTTP, p.HTTP2, p.GRPC)
	}
}

// httpPool returns the limits of the given protocol.
func httpPool(own meshv1beta2.Protocol, http *meshv1beta2.HTTPConnectionPool, http2, grpc *meshv1beta2.HTTP2ConnectionPool) mesh.Pool {
	switch {
	case own == meshv1beta2.ProtocolHTTP && http != nil:
		pool := mesh.Pool{MaxConnections: limit(http.MaxConnections)}
		if http.MaxPendingRequests != nil {
			pool.MaxPendingRequests = limit(*http.MaxPendingRequests)
		}
		return pool
	case own == meshv1beta2.ProtocolHTTP2 && http2 != nil:
		return mesh.Pool{MaxRequests: limit(http2.MaxRequests)}
	case own == meshv1beta2.ProtocolGRPC && grpc != nil:
		return mesh.Pool{MaxRequests: limit(grpc.MaxRequests)}
	default:
		return mesh.Pool{}
	}
}

// maxLimit is Envoy's largest circuit breaker threshold that App Mesh used for "unlimited".
const maxLimit = 2147483647

func limit(n int64) uint32 { return uint32(min(max(n, 0), maxLimit)) }

func httpTimeout(t *meshv1beta2.HTTPTimeout) mesh.Timeout {
	if t == nil {
		return mesh.Timeout{}
	}
	return mesh.Timeout{PerRequest: span(t.PerRequest), Idle: span(t.Idle)}
}

func span(d *meshv1beta2.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	v := boundSpan(d.Duration())
	return &v
}

// maxSpan is the longest time that Envoy takes: its timers count milliseconds in 32 bits in places.
const maxSpan = 24 * 24 * time.Hour

func boundSpan(d time.Duration) time.Duration { return min(max(d, 0), maxSpan) }

// compileDestination decides how callers of one listener find it.
func (b *builder) compileDestination(n *node, l *meshv1beta2.Listener) {
	port, proto := uint32(l.PortMapping.Port), mesh.Protocol(l.PortMapping.Protocol)
	d := &mesh.Destination{
		Cluster: fmt.Sprintf("cds_egress_%s_%s_%s_%d", n.mesh.name, n.name, proto, port),
		Object:  n.self, Port: port, Protocol: proto, IPPreference: n.mesh.pref,
		HTTP: n.mesh.http, KeepAlive: n.mesh.keepAlive,
	}
	if !b.discover(n, d) {
		return
	}
	d.HealthHost = discoveryName(n.object.Spec.ServiceDiscovery)
	d.Health = healthCheck(l)
	if o := l.OutlierDetection; o != nil {
		d.Outlier = &mesh.Outlier{
			MaxServerErrors: limit(o.MaxServerErrors),
			Interval:        positive(o.Interval.Duration()), BaseEjection: positive(o.BaseEjectionDuration.Duration()),
			MaxEjectionPercent: min(limit(o.MaxEjectionPercent), 100),
		}
	}
	d.TLS = b.unaskedTLS(n, l, d)
	b.passProxies(n, d)
	n.destinations[port] = b.sealDestination(n, d)
}

// sealed is a destination with its fingerprint.
type sealed struct{ destination *mesh.Destination }

// sealDestination returns the destination with its fingerprint: the one of the last pass if it is the same.
func (b *builder) sealDestination(n *node, d *mesh.Destination) *mesh.Destination {
	last := b.compiler.destinations.get(listenerKey{n.object, d.Port}, func(listenerKey) *sealed { return &sealed{} })
	if had := last.destination; had != nil {
		share(&d.DNS, had.DNS)
		share(&d.Health, had.Health)
		share(&d.Outlier, had.Outlier)
		share(&d.KeepAlive, had.KeepAlive)
		d.Fingerprint = had.Fingerprint
		if *d == *had {
			return had
		}
	}
	d.Fingerprint = mesh.Fingerprint(d)
	last.destination = d
	return d
}

// share puts had in place of what p points to, when both are equal.
func share[T comparable](p **T, had *T) {
	if *p != nil && had != nil && **p == *had {
		*p = had
	}
}

// millis does not overflow.
func millis(n int64) time.Duration {
	return time.Duration(min(n, int64(maxSpan/time.Millisecond))) * time.Millisecond
}

// positive replaces zero, which Envoy refuses for intervals, by the shortest time App Mesh can express.
func positive(d time.Duration) time.Duration { return boundSpan(max(d, time.Millisecond)) }

// discoveryName is the name that stands for a node in health checks and certificates.
// Source: App Mesh user guide; for Cloud Map <service>.<namespace>.
func discoveryName(s *meshv1beta2.ServiceDiscovery) string {
	switch {
	case s == nil:
		return ""
	case s.DNS != nil:
		return strings.TrimSuffix(s.DNS.Hostname, ".")
	case s.AWSCloudMap != nil:
		return s.AWSCloudMap.ServiceName + "." + s.AWSCloudMap.NamespaceName
	default:
		return ""
	}
}

// healthCheck maps the check that callers make; one that Envoy would refuse is left out.
func healthCheck(l *meshv1beta2.Listener) *mesh.HealthCheck {
	h := l.HealthCheck
	if h == nil {
		return nil
	}
	proto := l.PortMapping.Protocol
	if h.Protocol == meshv1beta2.ProtocolGRPC && proto != meshv1beta2.ProtocolGRPC && proto != meshv1beta2.ProtocolHTTP2 {
		return nil
	}
	out := &mesh.HealthCheck{
		Protocol: mesh.Protocol(h.Protocol), Path: "/",
		Interval: positive(millis(h.IntervalMillis)), Timeout: positive(millis(h.TimeoutMillis)),
		Healthy: limit(h.HealthyThreshold), Unhealthy: limit(h.UnhealthyThreshold),
	}
	if h.Path != nil && *h.Path != "" {
		out.Path = *h.Path
	}
	if h.Port != nil && *h.Port != l.PortMapping.Port {
		out.Port = portNumber(h.Port)
	}
	return out
}

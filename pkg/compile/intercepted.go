package compile

import (
	"fmt"
	"slices"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// listener returns the usable listener on a port; nil if there is none.
func (n *node) listener(port uint32) *listener {
	for i := range n.listeners {
		if n.listeners[i].port == port {
			return &n.listeners[i]
		}
	}
	return nil
}

// encrypted is true when the listener on a port takes TLS.
func (n *node) encrypted(port uint32) bool {
	l := n.listener(port)
	return l != nil && l.tls != nil
}

// intercepts is true when connections to a port of p pass its proxy. The injector recorded the redirected ports; without a record they
// are those of the listeners. A pod without a proxy counts as one whose application does what a proxy would.
func (n *node) intercepts(p *input.Pod, port uint32) bool {
	switch {
	case p.Node == "":
		return true
	case p.Profile.CapturedPorts != nil:
		return slices.Contains(p.Profile.CapturedPorts, int(port))
	default:
		return n.listener(port) != nil
	}
}

// passProxies reports pods whose proxies do not see what callers send to a listener, and lets callers that only follow the listener's
// TLS reach them in clear text: nobody would answer the handshake. Pods that are not ready count too, so that the cluster of callers
// does not change with readiness.
func (b *builder) passProxies(n *node, d *mesh.Destination) {
	via := b.servicePortFor(n, d.Port)
	pods := n.endpointPods()
	passed := uint32(0)
	for _, p := range pods {
		if port := targetPort(p, d.Port, via); !n.intercepts(p, port) && (passed == 0 || port < passed) {
			passed = port
		}
	}
	if d.TLS != nil && d.Endpoints != nil {
		d.Plain = passed != 0 || slices.ContainsFunc(d.Endpoints.List, func(e mesh.Endpoint) bool { return e.Plain })
	}
	// Without pods the Service says it, where it names a number.
	numbered := via != nil && via.TargetName == "" && via.Target != 0
	if passed == 0 && n.object.Spec.PodSelector != nil && numbered && n.listener(via.Target) == nil {
		passed = via.Target
	}
	if passed != 0 {
		b.reportNotIntercepted(n, d, passed)
	}
}

func (b *builder) reportNotIntercepted(n *node, d *mesh.Destination, port uint32) {
	message := fmt.Sprintf("container port %d is not intercepted", port)
	if n.listener(port) != nil {
		message += " in some pods, which were injected without it; restart them, and name it in their annotation " +
			meshv1beta2.AnnotationPorts + " if they have one"
	} else {
		message += fmt.Sprintf(": port %d of the Service of host %s leads there, past the listener on %d; "+
			"give listener, Service and container the same port", d.Port, n.object.Spec.ServiceDiscovery.DNS.Hostname, d.Port)
	}
	if d.TLS != nil {
		message += "; until then callers use clear text, and those that enforce TLS fail"
	}
	b.problem(mesh.Problem{Object: n.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonNotIntercepted,
		Path: "spec.listeners", Message: message})
}

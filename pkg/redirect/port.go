package redirect

import (
	"fmt"
	"slices"
)

// Port says in words what happens to connections of one port: those that arrive for it, and those that the pod opens to it. One
// sentence each.
func (c Config) Port(port uint16) []string {
	if !c.Enabled {
		return c.Describe()
	}
	in := fmt.Sprintf("inbound to port %d: reaches the application directly, Envoy does not see it", port)
	switch {
	case port == c.InboundPort || port == c.OutboundPort:
		in = fmt.Sprintf("inbound to port %d: is the proxy's own; a connection straight to it is closed", port)
	case slices.Contains(c.AppPorts, port):
		in = fmt.Sprintf("inbound to port %d: goes to Envoy at %d, unless it comes from the pod itself", port, c.InboundPort)
	}
	out := fmt.Sprintf("outbound to port %d: goes to Envoy at %d", port, c.OutboundPort)
	if slices.Contains(c.skipPorts(), port) {
		return []string{in, fmt.Sprintf("outbound to port %d: leaves the pod directly, the port is left alone", port)}
	}
	if skip := append(c.skipSpans(false), c.skipSpans(true)...); len(skip) > 0 {
		out += ", except to " + join(skip)
	}
	if !c.IPv6 {
		out += " (IPv4 only)"
	}
	return []string{in, out}
}

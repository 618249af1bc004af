package v1beta2

// Ports of the proxy within its pod; no listener can have them.
const (
	// PortInbound is where redirected connections into the pod arrive. Source: App Mesh; it is fixed.
	PortInbound = 15000
	// PortOutbound is where redirected connections out of the pod arrive. Source: App Mesh; it is fixed.
	PortOutbound = 15001
	// PortProbes is where kubelet and Prometheus ask in place of a port whose listener would refuse them.
	PortProbes = 15020
	// PortAdmin is the default of Envoy's admin port; a flag of the operator names another. Source: App Mesh.
	PortAdmin = 9901
)

// ProxyPort says in words what the proxy uses a port for; empty if it does not. admin is Envoy's admin port, 0 the default.
func ProxyPort(port, admin int64) string {
	if admin == 0 {
		admin = PortAdmin
	}
	switch port {
	case PortInbound:
		return "inbound traffic"
	case PortOutbound:
		return "outbound traffic"
	case PortProbes:
		return "probes of kubelet"
	case admin:
		return "Envoy's admin interface"
	default:
		return ""
	}
}

package validate

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// listenerPorts judges the ports of all listeners of an object. inPod says that they are opened within a pod.
func (j *judge) listenerPorts(listeners *field.Path, ports []int64, inPod bool) {
	first := map[int64]int{}
	for i, port := range ports {
		path := listeners.Index(i).Child("portMapping", "port")
		if earlier, taken := first[port]; taken {
			j.add("X3", path, []int64{port, int64(slices.Index(ports, port))},
				"port %d is already that of listener %d, and this listener is not served; give every listener a port of its own", port, earlier)
			continue
		}
		first[port] = i
		if use := meshv1beta2.ProxyPort(port, j.rules.AdminPort); use != "" && inPod {
			j.add("X27", path, port, "port %d is used in the pod for %s, and this listener is not served; choose another port", port, use)
		}
	}
}

// perProtocol judges a block with one field per protocol: at most one field (rule many, with its own words) and that of the
// listener's protocol (rule X6).
func (j *judge) perProtocol(many, words string, path *field.Path, protocol meshv1beta2.Protocol, members ...member) {
	names := given(members)
	switch {
	case len(names) > 1:
		j.add(many, path, names, "%s, but %s are given; keep the one of the listener's protocol, %s", words, and(names), protocol)
	case len(names) == 1 && names[0] != string(protocol):
		j.add("X6", path.Child(names[0]), []string{names[0], string(protocol)},
			"%s is ignored because the listener's protocol is %s; rename it to %s", names[0], protocol, protocol)
	}
}

// healthCheck is what the health checks of nodes and gateways share.
type healthCheck struct {
	protocol meshv1beta2.Protocol
	path     *string
	port     *int64
}

func (j *judge) healthCheck(path *field.Path, h healthCheck, port int64, protocol meshv1beta2.Protocol) {
	if h.protocol == meshv1beta2.ProtocolGRPC && protocol != meshv1beta2.ProtocolGRPC && protocol != meshv1beta2.ProtocolHTTP2 {
		j.add("X7", path.Child("protocol"), []meshv1beta2.Protocol{h.protocol, protocol},
			"a grpc health check is not possible on a listener of protocol %s and is left out; use protocol %s", protocol, protocol)
	}
	if h.port != nil && *h.port != port {
		j.add("X8", path.Child("port"), []int64{*h.port, port},
			"health checks go to port %d, the listener's is %d; remove the field unless that is meant", *h.port, port)
	}
	http := h.protocol == meshv1beta2.ProtocolHTTP || h.protocol == meshv1beta2.ProtocolHTTP2
	if http && (h.path == nil || *h.path == "") {
		j.add("X9", path.Child("path"), h.protocol, "the %s health check has no path and asks for \"/\"; add the path that tells health", h.protocol)
	}
}

// logging judges the access log; absent is fine.
func (j *judge) logging(path *field.Path, l *meshv1beta2.Logging) {
	if l == nil || l.AccessLog == nil || l.AccessLog.File == nil || l.AccessLog.File.Format == nil {
		return
	}
	f, format := l.AccessLog.File.Format, path.Child("accessLog", "file", "format")
	if len(f.JSON) > 0 && f.Text != nil {
		j.add("U9", format, f.DeepCopy(), "the log format has json and text, only one is allowed; keep one of them")
		return
	}
	for i, pair := range f.JSON {
		j.logFormat(format.Child("json").Index(i).Child("value"), pair.Value)
	}
	if f.Text != nil {
		j.logFormat(format.Child("text"), *f.Text)
	}
}

func (j *judge) logFormat(path *field.Path, format string) {
	if err := LogFormat(format); err != nil {
		j.add("X19", path, format, "Envoy cannot use the log format %q: %v; correct it, until then the default format is used", format, err)
	}
}

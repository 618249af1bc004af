package explain

import (
	"fmt"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

const httpsPort = 443

// closed says why no filter chain of a listener takes a connection, and what the user can do.
func (e *explainer) closed(l *listenerv3.Listener, r *Request) string {
	w := e.workload
	if w.ID.Gateway || w.Egress.AllowAll {
		return fmt.Sprintf("the connection is closed: no filter chain takes port %d", r.Port)
	}
	host := hostOnly(r.Host)
	why := fmt.Sprintf("no backend of %s is %s on port %d", w.Object, host, r.Port)
	if sharesPort(l, r.Port) {
		why = fmt.Sprintf("neither address nor TLS server name is that of a backend of %s on port %d", w.Object, r.Port)
	}
	for _, name := range w.Egress.Exempt {
		if suffix, ok := strings.CutPrefix(name, "*"); ok && strings.HasSuffix(host, suffix) || name == host {
			why += fmt.Sprintf(" (%s passes by TLS on port %d only)", name, httpsPort)
		}
	}
	remedy := "add a VirtualService with a VirtualNode for it to spec.backends"
	if ports, object := e.portsOf(host); len(ports) > 0 {
		remedy = fmt.Sprintf("%s has %s; call that, or add a listener with port %d to its provider", object, portList(ports), r.Port)
	} else if r.Port == httpsPort {
		remedy += ", or its name to the operator's flag --egress-exempt"
	}
	return fmt.Sprintf("closed by the egress filter DROP_ALL of mesh %s: %s; %s", w.ID.Mesh, why, remedy)
}

// portsOf returns the ports on which the applications of a node may call a host, sorted, and the object that the host belongs to.
func (e *explainer) portsOf(host string) (ports []uint32, object mesh.Object) {
	e.callees(func(s *mesh.Service, port uint32) {
		if strings.EqualFold(s.Name, host) {
			ports, object = append(ports, port), s.Object
		}
	})
	slices.Sort(ports)
	return slices.Compact(ports), object
}

// portList is "port 80" or "ports 80, 81".
func portList(ports []uint32) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = fmt.Sprint(p)
	}
	if len(ports) == 1 {
		return "port " + words[0]
	}
	return "ports " + strings.Join(words, ", ")
}

// sharesPort is true when some chain takes connections of the port.
func sharesPort(l *listenerv3.Listener, port uint32) bool {
	for _, c := range l.FilterChains {
		if m := c.GetFilterChainMatch(); m.GetDestinationPort().GetValue() == port && c.Name != "egress_amazonaws" {
			return true
		}
	}
	return false
}

// mostNamed is how many names a message lists.
const mostNamed = 10

// callable lists what the applications of a node may call, for a request that meets none of it.
func (e *explainer) callable() string {
	if e.workload.ID.Gateway {
		return ""
	}
	var names []string
	e.callees(func(s *mesh.Service, port uint32) { names = append(names, fmt.Sprintf("%s:%d", s.Name, port)) })
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return fmt.Sprintf("; %s has no backends", e.workload.Object)
	}
	more := ""
	if n := len(names) - mostNamed; n > 0 {
		names, more = names[:mostNamed], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("; %s may call %s%s", e.workload.Object, strings.Join(names, ", "), more)
}

// callees calls f with each service that a node may call and the port on which it may.
func (e *explainer) callees(f func(s *mesh.Service, port uint32)) {
	services := map[mesh.Object]*mesh.Service{}
	for _, b := range e.workload.Backends {
		services[b.Service.Object] = b.Service
	}
	for _, l := range e.workload.Outbound {
		objects := []mesh.Object{l.Object}
		if l.Routes != nil {
			for _, h := range l.Routes.Hosts {
				objects = append(objects, h.Object)
			}
		}
		for _, o := range objects {
			if s := services[o]; s != nil {
				f(s, l.Port)
			}
		}
	}
}

// ports names the ports of a gateway, for a request to another one.
func (e *explainer) ports() string {
	var ports []string
	for _, l := range e.workload.Inbound {
		ports = append(ports, fmt.Sprint(l.Port))
	}
	if len(ports) == 0 {
		return fmt.Sprintf("; %s has no listeners", e.workload.Object)
	}
	return fmt.Sprintf("; %s listens on %s", e.workload.Object, strings.Join(ports, ", "))
}

package explain

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// causes names the objects behind what was found in the resources.
type causes struct {
	hosts, clusters map[string]string
	routes          map[[2]string]string
	addresses       map[string][]string
}

func newCauses(w *mesh.Workload) *causes {
	c := &causes{hosts: map[string]string{}, clusters: map[string]string{}, routes: map[[2]string]string{}, addresses: map[string][]string{}}
	for _, b := range w.Backends {
		c.addresses[strings.ToLower(b.Service.Name)] = append(slices.Clone(b.Service.Addresses), b.Service.Resolved...)
	}
	for _, d := range w.Destinations {
		c.clusters[d.Cluster] = name(d.Object)
	}
	for _, l := range w.Inbound {
		c.listener(l)
	}
	for _, l := range w.Outbound {
		c.listener(l)
		if l.Routes != nil {
			for _, h := range l.Routes.Hosts {
				c.hosts[h.Name] = name(h.Object)
			}
		}
	}
	return c
}

// listener notes the objects of routes.
func (c *causes) listener(l *mesh.Listener) {
	if l.Routes == nil {
		return
	}
	for _, h := range l.Routes.Hosts {
		for _, r := range h.Routes {
			c.routes[[2]string{h.Name, r.Name}] = name(r.Object)
		}
	}
}

// name is empty where there is no object.
func name(o mesh.Object) string {
	if o == (mesh.Object{}) {
		return ""
	}
	return o.String()
}

func (c *causes) host(name string) string { return c.hosts[name] }

func (c *causes) route(host, name string) string { return c.routes[[2]string{host, name}] }

// address returns the first cluster IP of a service, the zero address when none is known: it is what an application dials.
func (c *causes) address(host string) netip.Addr {
	for _, a := range c.addresses[strings.ToLower(hostOnly(host))] {
		if ip, err := netip.ParseAddr(a); err == nil {
			return ip
		}
	}
	return netip.Addr{}
}

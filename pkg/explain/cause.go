package explain

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/translate"
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
		c.service(b.Service)
	}
	if w.Gateway == nil {
		return c
	}
	for _, e := range w.Gateway.Entrances {
		for _, h := range e.Hosts {
			for _, r := range h.Routes {
				c.routes[[2]string{translate.EntranceHost(h), r.Name}] = r.Object.String()
			}
		}
	}
	for _, s := range w.Gateway.Services {
		c.service(s.Service)
	}
	return c
}

func (c *causes) service(s *mesh.Service) {
	name := translate.HostName(s.Name)
	c.hosts[name], c.addresses[strings.ToLower(s.Name)] = s.Object.String(), append(slices.Clone(s.Addresses), s.Resolved...)
	for _, p := range s.Ports {
		for _, r := range p.Routes {
			c.routes[[2]string{name, r.Name}] = r.Object.String()
			for _, t := range r.Targets {
				if t.Destination != nil {
					c.clusters[t.Cluster] = t.Destination.Object.String()
				}
			}
		}
	}
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

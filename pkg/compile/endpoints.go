package compile

import (
	"cmp"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// listenerKey names a listener of a node.
type listenerKey struct {
	object *meshv1beta2.VirtualNode
	port   uint32
}

// podEndpoints are endpoints with what they are made from, apart from the node's own object.
type podEndpoints struct {
	pods       []*input.Pod
	via        *input.ServicePort
	encrypted  bool
	preference mesh.IPPreference
	list       *mesh.Endpoints
}

// podEndpoints returns the ready pods among the given ones. The port of each is the target of the Service port with the
// listener's number, resolved in the pod where it is a name; without such a Service port it is the listener's own. Where the listener
// of n on that port takes TLS, the pods that receive the traffic past their proxies are marked.
func (b *builder) podEndpoints(n *node, pods []*input.Pod, listenerPort uint32, via *input.ServicePort, pref mesh.IPPreference) *mesh.Endpoints {
	last := b.compiler.endpoints.get(listenerKey{n.object, listenerPort}, func(listenerKey) *podEndpoints { return &podEndpoints{} })
	next := podEndpoints{pods: pods, via: via, encrypted: n.encrypted(listenerPort), preference: pref}
	if last.list == nil || !last.like(&next) {
		next.seal(n, listenerPort)
		*last = next
	}
	return last.list
}

// like is true when both are made from the same.
func (e *podEndpoints) like(x *podEndpoints) bool {
	return e.encrypted == x.encrypted && e.preference == x.preference && (e.via == nil) == (x.via == nil) && (e.via == nil || *e.via == *x.via) &&
		slices.Equal(e.pods, x.pods)
}

func (e *podEndpoints) seal(n *node, listenerPort uint32) {
	list := make([]mesh.Endpoint, 0, len(e.pods))
	for _, p := range e.pods {
		if !p.Ready || p.Terminating {
			continue
		}
		ip := preferredIP(p.IPs, e.preference)
		if ip == "" {
			continue
		}
		port := targetPort(p, listenerPort, e.via)
		list = append(list, mesh.Endpoint{Address: ip, Port: port, Zone: p.Zone, Plain: e.encrypted && !n.intercepts(p, port)})
	}
	e.list = sealEndpoints(list)
}

func targetPort(p *input.Pod, listenerPort uint32, via *input.ServicePort) uint32 {
	switch {
	case via == nil:
		return listenerPort
	case via.TargetName != "":
		if n, ok := p.NamedPorts[via.TargetName]; ok {
			return n
		}
		return listenerPort
	case via.Target != 0:
		return via.Target
	default:
		return listenerPort
	}
}

// sliceEndpoints returns the ready addresses of a Service's slices for the port with the given name.
func sliceEndpoints(list []*input.Slice, portName string, pref mesh.IPPreference) *mesh.Endpoints {
	var out []mesh.Endpoint
	for _, s := range list {
		port, ok := s.Ports[portName]
		if !ok {
			continue
		}
		for _, e := range s.Endpoints {
			if e.Ready && preferredIP([]string{e.Address}, pref) != "" {
				out = append(out, mesh.Endpoint{Address: e.Address, Port: port, Zone: e.Zone})
			}
		}
	}
	return sealEndpoints(keepFamily(out, pref))
}

// keepFamily drops the addresses of the second family of a dual-stack Service, whose endpoints are listed once per family.
func keepFamily(list []mesh.Endpoint, pref mesh.IPPreference) []mesh.Endpoint {
	v6First := pref == mesh.IPv6Preferred || pref == mesh.IPv6Only
	wanted := func(e mesh.Endpoint) bool { return strings.Contains(e.Address, ":") == v6First }
	if !slices.ContainsFunc(list, wanted) {
		return list
	}
	return slices.DeleteFunc(list, func(e mesh.Endpoint) bool { return !wanted(e) })
}

// preferredIP picks an address by the preference of the mesh; none means IPv4 if there is one. The result is empty when the
// preference excludes all of them. Source: App Mesh user guide, IP preference.
func preferredIP(ips []string, pref mesh.IPPreference) string {
	var v4, v6 string
	for _, ip := range ips {
		if strings.Contains(ip, ":") {
			v6 = cmp.Or(v6, ip)
		} else {
			v4 = cmp.Or(v4, ip)
		}
	}
	switch pref {
	case mesh.IPv4Only:
		return v4
	case mesh.IPv6Only:
		return v6
	case mesh.IPv6Preferred:
		return cmp.Or(v6, v4)
	default:
		return cmp.Or(v4, v6)
	}
}

// sealEndpoints leaves out addresses that are the caller's own. The API server takes some from who may write EndpointSlices or the
// status of pods.
func sealEndpoints(list []mesh.Endpoint) *mesh.Endpoints {
	list = slices.DeleteFunc(list, func(e mesh.Endpoint) bool { return validate.CallersOwn(e.Address) })
	slices.SortFunc(list, func(a, b mesh.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
	e := &mesh.Endpoints{List: slices.Compact(list)}
	e.Fingerprint = mesh.Fingerprint(e)
	return e
}

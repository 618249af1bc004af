package translate

import (
	"fmt"
	"slices"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// maxHops is how many proxies a request passes before that of the application: the two hops of a gateway, one of a sidecar.
const maxHops = 2

// inboundInput returns the listener that takes what the redirect step sends from outside the pod, or nil for a workload that
// serves nothing. Chains match the original destination port, so a connection straight to the listener's own port is closed.
func inboundInput(g *mesh.Group) *listenerInput {
	w := g.Workload
	if len(w.Listeners) == 0 {
		return nil
	}
	in := &listenerInput{
		Name: inboundListener, StatPrefix: inboundStats, Port: inboundPort,
		Profile: bindProfile(g.Profile), AccessLog: w.AccessLog,
	}
	for _, l := range w.Listeners {
		c := chain{
			Name: fmt.Sprintf("ingress_%s_%d", l.Protocol, l.Port), Port: l.Port,
			StatPrefix: inboundStatPrefix(w, l), TLS: l.TLS, Socket: g.Profile.SDS,
		}
		if l.Protocol.IsHTTP() {
			c.Routes, c.HTTP, c.Inbound, c.Hops, c.Draining = inboundRoutes(l), w.HTTP, true, maxHops, g.Profile.Draining
		} else {
			c.Clusters = []mesh.Target{{Cluster: localCluster(w.ID, l), Weight: 1, Destination: &mesh.Destination{}}}
			c.Idle = l.Timeout.Idle
		}
		in.Chains = append(in.Chains, c)
	}
	return in
}

// inboundStatPrefix is "ingress", or "ingress.<protocol>.<port>" as soon as the workload has several listeners.
// Source: App Mesh user guide, Envoy metrics with multiple listeners.
func inboundStatPrefix(w *mesh.Workload, l *mesh.Listener) string {
	if len(w.Listeners) == 1 {
		return "ingress"
	}
	return fmt.Sprintf("ingress.%s.%d", l.Protocol, l.Port)
}

// outboundInput returns the listener that takes what applications of the pod send.
func outboundInput(g *mesh.Group) *listenerInput {
	w := g.Workload
	in := &listenerInput{
		Name: outboundListener, StatPrefix: outboundStats, Port: outboundPort, Outbound: true,
		Profile: bindProfile(g.Profile), AccessLog: w.AccessLog,
	}
	for _, p := range w.Outbound {
		if len(p.HTTP) > 0 {
			in.Chains = append(in.Chains, chain{
				Name: fmt.Sprintf("egress_%s_%d", p.Protocol, p.Port), Port: p.Port, StatPrefix: "egress",
				Routes: outboundRoutes(p), HTTP: w.HTTP,
			})
		}
		for i, t := range p.TCP {
			name := fmt.Sprintf("egress_tcp_%d", p.Port)
			if i > 0 {
				name += "_" + t.Service.Name
			}
			in.Chains = append(in.Chains, tcpChain(name, p.Port, t, w.ID.Mesh))
		}
	}
	if len(w.Egress.Exempt) > 0 {
		in.Chains = append(in.Chains, chain{
			Name: "egress_amazonaws", Port: httpsPort, ServerNames: w.Egress.Exempt, StatPrefix: "egress",
			Clusters: defined(amazonCluster(w.ID.Mesh)),
		})
	}
	if w.Egress.AllowAll {
		for _, port := range []uint32{inboundPort, outboundPort} {
			// A service of the mesh on such a port has its chain already, which leads there and not back to the proxy.
			if !slices.ContainsFunc(in.Chains, func(c chain) bool { return c.Port == port && len(c.Addresses) == 0 }) {
				in.Chains = append(in.Chains, chain{
					Name: fmt.Sprintf("closed_%d", port), Port: port, StatPrefix: "closed", Clusters: defined(closedCluster(w.ID.Mesh)),
				})
			}
		}
		in.Default = &chain{Name: "egress_mesh_allow_all", StatPrefix: "egress", Clusters: defined(passThroughCluster(w.ID.Mesh))}
	} else if len(in.Chains) == 0 {
		// Envoy refuses a listener without any chain.
		in.Default = &chain{Name: "closed", StatPrefix: "closed", Clusters: defined(closedCluster(w.ID.Mesh))}
	}
	return in
}

func tcpChain(name string, port uint32, t mesh.OutboundService, meshName string) chain {
	c := chain{Name: name, Port: port, Addresses: t.Addresses, StatPrefix: "egress"}
	if len(t.Port.Routes) > 0 {
		r := t.Port.Routes[0]
		c.Clusters, c.Idle = r.Targets, r.Timeout.Idle
	}
	if len(c.Clusters) == 0 {
		// A router without a route for the port: the connection is closed, it does not pass the filter.
		c.Clusters = []mesh.Target{{Cluster: "cds_egress_" + meshName + "_unresolved"}}
	}
	return c
}

// defined is a single target that certainly exists.
func defined(cluster string) []mesh.Target {
	return []mesh.Target{{Cluster: cluster, Weight: 1, Destination: &mesh.Destination{}}}
}

// bindProfile keeps the part of a profile that listeners depend on.
func bindProfile(p mesh.Profile) mesh.Profile {
	return mesh.Profile{IPv4: p.IPv4, IPv6: p.IPv6}
}

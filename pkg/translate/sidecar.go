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
		in.Chains = append(in.Chains, outboundChains(w, p)...)
	}
	if len(w.Egress.Exempt) > 0 && !inspects(w, httpsPort) {
		in.Chains = append(in.Chains, exemptChain(w))
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
		in.Default = passChain(w)
	} else if len(in.Chains) == 0 {
		// Envoy refuses a listener without any chain.
		in.Default = &chain{Name: "closed", StatPrefix: "closed", Clusters: defined(closedCluster(w.ID.Mesh))}
	}
	return in
}

// inspectedInput returns the listener that takes the connections of inspected ports from the outbound one, with their addresses in a
// header of the PROXY protocol, and looks at their first bytes; nil where none is needed. It is a listener of its own because looking
// holds protocols in which the server speaks first, and because the filters of the outbound one must never change.
//
// Where everything may leave the mesh it is always there, so that the first inspected port finds it.
func inspectedInput(g *mesh.Group) *listenerInput {
	w := g.Workload
	in := &listenerInput{
		Name: inspectedListener, StatPrefix: "inspected", Pipe: inspectedPipe(w.ID), Outbound: true, AccessLog: w.AccessLog,
	}
	for _, p := range w.Outbound {
		if p.Inspect {
			in.Chains = append(in.Chains, inspectedChains(w, p)...)
		}
	}
	switch {
	case w.Egress.AllowAll:
		in.Default = passChain(w)
	case len(in.Chains) == 0:
		return nil
	}
	if len(w.Egress.Exempt) > 0 && inspects(w, httpsPort) {
		in.Chains = append(in.Chains, exemptChain(w))
	}
	return in
}

// outboundChains are the chains of one port that the outbound listener chooses by address.
func outboundChains(w *mesh.Workload, p *mesh.OutboundPort) []chain {
	var out []chain
	if len(p.HTTP) > 0 {
		c := httpChain(w, p)
		if !p.Inspect {
			out = append(out, c)
		}
		for _, s := range p.HTTP {
			if len(s.Addresses) > 0 {
				c.Name, c.Addresses = fmt.Sprintf("egress_%s_%d_%s", p.Protocol, p.Port, s.Service.Name), s.Addresses
				out = append(out, c)
			}
		}
	}
	for i, t := range p.TCP {
		c := tcpChain(tcpChainName(p, i), p.Port, t, w.ID.Mesh)
		if len(t.Addresses) > 0 || t.Rest && !p.Inspect {
			if c.Addresses = t.Addresses; t.Rest && !p.Inspect {
				c.Addresses = nil
			}
			out = append(out, c)
		}
		for _, a := range t.PodAddresses {
			c.Name, c.Addresses = tcpChainName(p, i)+"_"+a, []string{a}
			out = append(out, c)
		}
	}
	if p.Inspect {
		out = append(out, chain{
			Name: fmt.Sprintf("inspect_%d", p.Port), Port: p.Port, StatPrefix: "inspect", Silent: true,
			Clusters: defined(inspectedCluster(w.ID.Mesh)),
		})
	}
	return out
}

// inspectedChains are the chains of one port that are chosen by the first bytes of a connection.
func inspectedChains(w *mesh.Workload, p *mesh.OutboundPort) []chain {
	var out []chain
	if len(p.HTTP) > 0 {
		c := httpChain(w, p)
		// Clear text in any case: a TLS client that offers http/1.1 by ALPN would look like HTTP too.
		c.Transport, c.OnlyHTTP = transportClear, w.Egress.AllowAll
		out = append(out, c)
	}
	for i, t := range p.TCP {
		c := tcpChain(tcpChainName(p, i), p.Port, t, w.ID.Mesh)
		if len(t.ServerNames) > 0 {
			c.ServerNames, c.Transport = t.ServerNames, transportTLS
			out = append(out, c)
		}
		if t.Rest {
			c.Name, c.ServerNames, c.Transport = c.Name+"_rest", nil, transportClear
			out = append(out, c)
		}
	}
	return out
}

// inspects is true when a port is inspected.
func inspects(w *mesh.Workload, port uint32) bool {
	return slices.ContainsFunc(w.Outbound, func(p *mesh.OutboundPort) bool { return p.Inspect && p.Port == port })
}

func exemptChain(w *mesh.Workload) chain {
	return chain{
		Name: "egress_amazonaws", Port: httpsPort, ServerNames: w.Egress.Exempt, StatPrefix: "egress",
		Clusters: defined(amazonCluster(w.ID.Mesh)),
	}
}

func passChain(w *mesh.Workload) *chain {
	return &chain{Name: "egress_mesh_allow_all", StatPrefix: "egress", Clusters: defined(passThroughCluster(w.ID.Mesh))}
}

func httpChain(w *mesh.Workload, p *mesh.OutboundPort) chain {
	return chain{
		Name: fmt.Sprintf("egress_%s_%d", p.Protocol, p.Port), Port: p.Port, StatPrefix: "egress",
		Routes: outboundRoutes(p), HTTP: w.HTTP,
	}
}

// tcpChainName is that of the i-th TCP service of a port.
func tcpChainName(p *mesh.OutboundPort, i int) string {
	name := fmt.Sprintf("egress_tcp_%d", p.Port)
	if i > 0 {
		name += "_" + p.TCP[i].Service.Name
	}
	return name
}

func tcpChain(name string, port uint32, t mesh.OutboundService, meshName string) chain {
	c := chain{Name: name, Object: t.Service.Object, Port: port, StatPrefix: "egress"}
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

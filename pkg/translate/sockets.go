package translate

import (
	"fmt"
	"slices"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// listeners adds the listeners of Envoy. Redirected connections of one direction all arrive at one, whose chains match the original
// destination port, so a connection straight to the listener's own port is closed. Ports that are dialled themselves have one each.
//
// The inspecting listener takes connections from the outbound one, with their addresses in a header of the PROXY protocol, and looks at
// their first bytes. It is one of its own because looking holds protocols in which the server speaks first, and because the filters of
// the outbound one must never change.
func (b *builder) listeners() error {
	w := b.g.Workload
	for _, in := range slices.Concat(b.sockets(w.Inbound, false), b.sockets(w.Outbound, true)) {
		if err := b.listener(in); err != nil {
			return err
		}
	}
	inspected := func(l *mesh.Listener) bool {
		return slices.ContainsFunc(l.Chains, func(c mesh.Chain) bool { return c.Inspected })
	}
	if !slices.ContainsFunc(w.Outbound, inspected) {
		return nil
	}
	return b.listener(&listenerInput{
		Name: inspectedListener, StatPrefix: "inspected", Pipe: w.Inspector, Outbound: true,
		AccessLog: w.AccessLog, HTTP: w.HTTP, Listeners: w.Outbound,
	})
}

// sockets groups the listeners of one direction by the address at which their connections arrive.
func (b *builder) sockets(list []*mesh.Listener, outbound bool) []*listenerInput {
	direction, port := "ingress", uint32(inboundPort)
	if outbound {
		direction, port = "egress", outboundPort
	}
	var out []*listenerInput
	for _, l := range list {
		at := port
		if l.Direct {
			at = l.Port
		}
		i := slices.IndexFunc(out, func(in *listenerInput) bool { return in.Port == at && in.Direct == l.Direct })
		if i < 0 {
			i = len(out)
			out = append(out, &listenerInput{
				// The statistics of listeners keep App Mesh's names whatever address they are bound to.
				Name: fmt.Sprintf("lds_%s_0.0.0.0_%d", direction, at), StatPrefix: fmt.Sprintf("0.0.0.0_%d", at), Port: at,
				Outbound: outbound, Direct: l.Direct, Profile: listenerProfile(b.g.Profile, outbound),
				AccessLog: b.g.Workload.AccessLog, HTTP: b.g.Workload.HTTP,
			})
		}
		out[i].Listeners = append(out[i].Listeners, l)
	}
	return out
}

// listenerProfile keeps the part of a profile that listeners of a direction depend on.
func listenerProfile(p mesh.Profile, outbound bool) mesh.Profile {
	out := mesh.Profile{IPv4: p.IPv4, IPv6: p.IPv6}
	if !outbound {
		out.SDS, out.Draining = p.SDS, p.Draining
	}
	return out
}

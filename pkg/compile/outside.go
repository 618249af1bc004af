package compile

import (
	"cmp"
	"slices"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// wanted is true for running pods without a proxy of a namespace in which every pod is to have one, unless something speaks
// against it. That happens to pods that are older than the namespace's label, or were made while no webhook was asked.
func (b *builder) wanted(p *input.Pod) bool {
	if p.Node != "" || p.Exempt || !p.Running || p.Terminating {
		return false
	}
	of, labelled := b.labels[p.Namespace][meshv1beta2.LabelInject]
	return strings.EqualFold(of, "enabled") || labelled && strings.EqualFold(p.Injection, "enabled")
}

// findOutside notes a pod that should have a proxy. Of those that bring a container envoy only gateways are meant: in other pods it is
// the user's own proxy.
func (b *builder) findOutside(p *input.Pod, selecting []int) {
	if !b.wanted(p) {
		return
	}
	out := input.Outsider{Pod: p}
	if len(selecting) > 0 {
		out.Object = b.nodeOrder[selecting[0]].self
	} else if p.HasEnvoy {
		out.Object = b.gatewayFor(p)
	}
	if p.HasEnvoy && out.Object.Kind != "VirtualGateway" {
		return
	}
	at, _ := slices.BinarySearchFunc(b.outside, out, compareOutsiders)
	b.outside = slices.Insert(b.outside, at, out)
}

// gatewayFor returns the oldest gateway that selects a pod.
func (b *builder) gatewayFor(p *input.Pod) mesh.Object {
	if found := b.gatewayIndex.match(p); len(found) > 0 {
		return b.gateways[found[0]].self
	}
	return mesh.Object{}
}

func compareOutsiders(x, y input.Outsider) int { return comparePods(x.Pod, y.Pod) }

func comparePods(x, y *input.Pod) int {
	return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name), cmp.Compare(x.UID, y.UID))
}

// findRefused notes a running pod of w that is asked in clear text on a port whose listener is STRICT.
func (b *builder) findRefused(p *input.Pod, w *mesh.Workload) {
	if !p.Running || p.Terminating {
		return
	}
	out := input.Refused{Pod: p, Object: w.Object}
	for _, port := range p.Asked {
		if slices.ContainsFunc(w.Inbound, func(l *mesh.Listener) bool { return l.Port == port && l.TLS != nil && !l.TLS.Permissive }) {
			out.Ports = append(out.Ports, port)
		}
	}
	if len(out.Ports) > 0 {
		b.refused = append(b.refused, out)
	}
}

package compile

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// attachRoutes finds the gateway of every gateway route, by the gateways' selectors as they are now. What a route refers to only
// chooses among the gateways that select it, and says where it stays as long as that one exists: it lets nobody in.
func (b *builder) attachRoutes() {
	of := make(map[*meshv1beta2.VirtualGateway]*gateway, len(b.gateways))
	for _, g := range b.gateways {
		of[g.object] = g
	}
	for _, r := range b.entering {
		self := input.ID(r)
		g, reason, why := b.attach(r, of)
		if g == nil {
			b.problem(mesh.Problem{Object: self, Severity: mesh.Unresolved, Reason: reason, Path: "spec.virtualGatewayRef", Message: why})
			continue
		}
		place := b.names[self]
		place.Gateway = g.name
		b.names[self] = place
		g.routes = append(g.routes, r)
	}
}

// attach returns the gateway of one route, or reason and message why it has none.
func (b *builder) attach(r *meshv1beta2.GatewayRoute, of map[*meshv1beta2.VirtualGateway]*gateway) (g *gateway, reason, why string) {
	nsLabels := b.namespaceLabels(r.Namespace)
	if g = b.referredGateway(r); g != nil {
		if _, known := b.labels[r.Namespace]; b.takes(g.object, r, nsLabels) || b.in.Settings.Offline && !known {
			return g, "", ""
		}
		return nil, meshv1beta2.ReasonVirtualGatewayNotDesignated,
			fmt.Sprintf("%s does not select the route; give namespace %s and the route the labels that its namespaceSelector and gatewayRouteSelector ask for, or create the route again",
				g.self, r.Namespace)
	}
	found, problem := membership.DesignateGateway(b.of.VirtualGateways, r, nsLabels, func(g *meshv1beta2.VirtualGateway) bool {
		return b.meshOf[input.ID(g)] == b.meshOf[input.ID(r)]
	})
	if problem != nil {
		return nil, problem.Reason, problem.Message
	}
	if g = of[found]; g == nil {
		return nil, meshv1beta2.ReasonVirtualGatewayNotActive, fmt.Sprintf("%s is not served, see its conditions", input.ID(found))
	}
	return g, "", ""
}

// takes is membership.SelectsRoute, with the selectors that the compiler remembers.
func (b *builder) takes(g *meshv1beta2.VirtualGateway, r *meshv1beta2.GatewayRoute, nsLabels map[string]string) bool {
	matches := func(s *metav1.LabelSelector, set map[string]string) bool {
		return b.compiler.selectors.get(s, selectorOf).Matches(labels.Set(set))
	}
	return matches(g.Spec.NamespaceSelector, nsLabels) && (g.Spec.GatewayRouteSelector == nil || matches(g.Spec.GatewayRouteSelector, r.Labels))
}

// referredGateway returns the gateway of the route's stored reference, if it exists in the route's mesh.
func (b *builder) referredGateway(r *meshv1beta2.GatewayRoute) *gateway {
	ref := r.Spec.VirtualGatewayRef
	if ref == nil {
		return nil
	}
	for _, g := range b.gateways {
		if g.self.Name == ref.Name && g.self.Namespace == ref.NamespaceOr(r.Namespace) && (g.object.UID == ref.UID || b.in.Settings.Offline) &&
			g.mesh == b.meshOf[input.ID(r)] {
			return g
		}
	}
	return nil
}

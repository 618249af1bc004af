package membership

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Problem says why an object could not be placed.
type Problem struct {
	// Reason is the api package's constant for conditions.
	Reason string
	// Message says what was looked for, what was found, and what to do. It begins with App Mesh's own words.
	Message string
	// Found counts the candidates; one that is being deleted counts too.
	Found int
}

// Selects says whether a label selector selects a set of labels. Absent and malformed selectors select nothing, an empty one
// everything.
func Selects(selector *metav1.LabelSelector, set map[string]string) bool {
	if selector == nil {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

// DesignateMesh returns the Mesh of meshes that objects created in the namespace join: the only one whose namespaceSelector
// selects nsLabels. A Mesh that is being deleted still counts, but takes no new members. The Mesh need not be active.
func DesignateMesh(meshes []*meshv1beta2.Mesh, namespace string, nsLabels map[string]string) (*meshv1beta2.Mesh, *Problem) {
	var found []*meshv1beta2.Mesh
	for _, m := range meshes {
		if Selects(m.Spec.NamespaceSelector, nsLabels) {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 0:
		return nil, &Problem{Reason: meshv1beta2.ReasonMeshNotDesignated,
			Message: fmt.Sprintf("failed to find matching mesh for namespace: %s, expecting 1 but found 0; create the Mesh first, or give the namespace the labels that its spec.namespaceSelector asks for",
				namespace)}
	case len(found) > 1:
		return nil, &Problem{Reason: meshv1beta2.ReasonMeshNotDesignated, Found: len(found),
			Message: fmt.Sprintf("found multiple matching meshes for namespace: %s, expecting 1 but found %d: %s; narrow their spec.namespaceSelector",
				namespace, len(found), strings.Join(sortedNames(found), ","))}
	case found[0].DeletionTimestamp != nil:
		return nil, &Problem{Reason: meshv1beta2.ReasonMeshNotDesignated, Found: 1,
			Message: fmt.Sprintf("unable to create new content in mesh %s because it is being terminated; wait until it is gone and create it again", found[0].Name)}
	}
	return found[0], nil
}

// DesignateGateway returns the VirtualGateway that the route is attached to: the only one whose namespaceSelector selects the
// labels of the route's namespace and whose gatewayRouteSelector, if it has one, selects the route's own labels. Gateways that
// are being deleted or for which sameMesh is false do not count; the route's mesh has been found before.
// A gateway's own namespace has no privilege.
func DesignateGateway(gateways []*meshv1beta2.VirtualGateway, route *meshv1beta2.GatewayRoute, nsLabels map[string]string,
	sameMesh func(*meshv1beta2.VirtualGateway) bool) (*meshv1beta2.VirtualGateway, *Problem) {
	var found, passed []*meshv1beta2.VirtualGateway
	for _, g := range gateways {
		if !SelectsRoute(g, route, nsLabels) {
			continue
		}
		if g.DeletionTimestamp != nil || !sameMesh(g) {
			passed = append(passed, g)
			continue
		}
		found = append(found, g)
	}
	if len(found) == 1 {
		return found[0], nil
	}
	p := &Problem{Reason: meshv1beta2.ReasonVirtualGatewayNotDesignated, Found: len(found)}
	if len(found) > 1 {
		p.Message = fmt.Sprintf("found multiple matching virtualGateways for gatewayRoute: %s, expecting 1 but found %d: %s; name one in spec.virtualGatewayRef, or narrow their selectors",
			route.Name, len(found), strings.Join(sortedNames(found), ","))
		return nil, p
	}
	p.Message = fmt.Sprintf("failed to find matching virtualGateway for gatewayRoute: %s, expecting 1 but found 0; create the VirtualGateway first, and give the namespace and the GatewayRoute the labels that its namespaceSelector and gatewayRouteSelector ask for",
		route.Name)
	if len(passed) > 0 {
		p.Message += fmt.Sprintf(" (%s would match, but is being deleted or belongs to another mesh)", strings.Join(sortedNames(passed), ","))
	}
	return nil, p
}

// SelectsRoute says whether a gateway takes a route of a namespace with the given labels: its namespaceSelector selects these, and
// its gatewayRouteSelector, whose absence, unlike that of other selectors, selects everything, the route's own.
func SelectsRoute(g *meshv1beta2.VirtualGateway, route *meshv1beta2.GatewayRoute, nsLabels map[string]string) bool {
	return Selects(g.Spec.NamespaceSelector, nsLabels) && (g.Spec.GatewayRouteSelector == nil || Selects(g.Spec.GatewayRouteSelector, route.Labels))
}

// sortedNames lists objects by name, gateways with their namespace.
func sortedNames[T meshv1beta2.Object](list []T) []string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.GetName()
		if o.GetNamespace() != "" {
			names[i] = o.GetNamespace() + "/" + o.GetName()
		}
	}
	slices.Sort(names)
	return names
}

package compile

import (
	"cmp"
	"fmt"
	"slices"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// discoverCloudMap finds the instances of a Cloud Map service: the pods of all nodes that register there and may, as far as their
// attributes agree, or else a Service of that name.
func (b *builder) discoverCloudMap(n *node, d *mesh.Destination, cm *meshv1beta2.AWSCloudMapServiceDiscovery) bool {
	if b.in.Settings.Offline {
		d.DNS = &mesh.DNS{Host: discoveryName(n.object.Spec.ServiceDiscovery), Port: d.Port, All: true}
		return validHost(d.DNS.Host)
	}
	var pods []*input.Pod
	registered, foreign := false, ""
	for _, other := range b.registeredAs(n.mesh, cm) {
		if other.self.Namespace != cloudMapNamespace(n, cm) {
			foreign = cmp.Or(foreign, fmt.Sprintf("; namespace %s registers there too, which counts with the attribute %s: %s",
				other.self.Namespace, attributeNamespace, other.self.Namespace))
			continue
		}
		registered = true
		candidates := other.endpointPods()
		if b.compared[n.self.Namespace] += len(candidates); b.compared[n.self.Namespace] > maxInstances {
			b.tooLarge(mesh.Problem{Object: n.self, Partial: true, Path: "spec.serviceDiscovery.awsCloudMap"},
				"the node has no endpoints: the Cloud Map nodes of namespace %s have %d instances to choose from, which is the most; use fewer nodes for %s.%s",
				n.self.Namespace, maxInstances, cm.ServiceName, cm.NamespaceName)
			d.Endpoints = sealEndpoints(nil)
			return true
		}
		for _, p := range candidates {
			if hasAttributes(p, other, cm.Attributes) {
				pods = append(pods, p)
			}
		}
	}
	if registered {
		slices.SortFunc(pods, func(x, y *input.Pod) int { return cmp.Compare(x.UID, y.UID) })
		d.Endpoints = b.podEndpoints(n, slices.Compact(pods), d.Port, nil, d.IPPreference)
		return true
	}
	key := serviceKey{cm.NamespaceName, cm.ServiceName}
	if s := b.services[key]; s != nil && s.ExternalName == "" {
		return b.discoverService(n, d, key, s, "spec.serviceDiscovery.awsCloudMap")
	}
	b.problem(mesh.Problem{Object: n.self, Severity: mesh.Unresolved, Partial: true, Reason: meshv1beta2.ReasonNoEndpoints, Path: "spec.serviceDiscovery.awsCloudMap",
		Message: fmt.Sprintf("nothing registers as %s.%s in namespace %s: give the node a podSelector, or create a Service %q in namespace %q%s",
			cm.ServiceName, cm.NamespaceName, cloudMapNamespace(n, cm), cm.ServiceName, cm.NamespaceName, foreign)})
	d.Endpoints = sealEndpoints(nil)
	return true
}

// cloudMapKey is a service of Cloud Map within a mesh.
type cloudMapKey struct {
	mesh               *meshInfo
	service, namespace string
}

// registeredAs returns the nodes whose pods are instances of a Cloud Map service, oldest first.
func (b *builder) registeredAs(m *meshInfo, cm *meshv1beta2.AWSCloudMapServiceDiscovery) []*node {
	if b.instances == nil {
		b.instances = map[cloudMapKey][]*node{}
		for _, n := range b.nodeOrder {
			if sd := n.object.Spec.ServiceDiscovery; n.selector != nil && sd != nil && sd.AWSCloudMap != nil {
				k := cloudMapKey{n.mesh, sd.AWSCloudMap.ServiceName, sd.AWSCloudMap.NamespaceName}
				b.instances[k] = append(b.instances[k], n)
			}
		}
	}
	return b.instances[cloudMapKey{m, cm.ServiceName, cm.NamespaceName}]
}

// attributeNamespace is the Cloud Map attribute with the Kubernetes namespace of an instance. Source: App Mesh controller.
const attributeNamespace = "k8s.io/namespace"

// cloudMapNamespace is the namespace whose nodes register the instances that a node stands for. A Cloud Map name belongs to nobody,
// so anybody could register under it; the node that the traffic is sent to says whom it means. That is its own namespace unless it
// asks for the instances of another one.
func cloudMapNamespace(n *node, cm *meshv1beta2.AWSCloudMapServiceDiscovery) string {
	for _, a := range cm.Attributes {
		if a.Key == attributeNamespace {
			return a.Value
		}
	}
	return n.self.Namespace
}

// hasAttributes is true when the instance made of pod p of the given node carries all attributes. Built-in ones win over the
// node's, which win over labels. Source: App Mesh controller, Cloud Map instance attributes.
func hasAttributes(p *input.Pod, of *node, want []meshv1beta2.AWSCloudMapInstanceAttribute) bool {
	for _, a := range want {
		if attribute(p, of, a.Key) != a.Value {
			return false
		}
	}
	return true
}

func attribute(p *input.Pod, of *node, key string) string {
	switch key {
	case "k8s.io/pod":
		return p.Name
	case attributeNamespace:
		return p.Namespace
	case "appmesh.k8s.aws/mesh":
		return of.mesh.name
	case "appmesh.k8s.aws/virtualNode":
		return of.name
	case "AVAILABILITY_ZONE":
		return p.Zone
	}
	own := of.object.Spec.ServiceDiscovery.AWSCloudMap.Attributes
	for i := len(own) - 1; i >= 0; i-- { // of two with one key the last one counts
		if own[i].Key == key {
			return own[i].Value
		}
	}
	return p.Labels[key]
}

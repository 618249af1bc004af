package injection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Identities of the node and the gateway that most pods are for.
const (
	front   = "mesh/injection/virtualNode/front_injection"
	ingress = "mesh/injection/virtualGateway/ingress_injection"
)

var (
	injected = short{"init": "first,envoy,proxyinit", "containers": "app"}
	outside  = short{"init": "first", "containers": "app"}
	// nobody is a pod that nothing selects.
	nobody = short{"app": "nobody"}
)

// modeCases are about whether a pod is looked at and injected.
var modeCases = []Case{
	about("sidecarInjectorWebhook", "enabled namespace", injected),
	about("sidecarInjectorWebhook", "a label without a value is not sent", outside).in(namespaceOpen),
	about("sidecarInjectorWebhook", "another value of the label is not sent", outside).in(namespaceOdd),
	about("sidecarInjectorWebhook", "disabled namespace", outside).in(namespaceClosed),
	about("sidecarInjectorWebhook", "namespace without the label", outside).in(namespaceBare),
	of("sidecarInjectorWebhook", "alone in a namespace without the label", "enabled", outside).in(namespaceBare),
	of("sidecarInjectorWebhook", "alone in a namespace with another value", "enabled", outside).in(namespaceOdd),
	of("sidecarInjectorWebhook", "enabled in a disabled namespace, in any case", "Enabled", injected).in(namespaceClosed),
	of("sidecarInjectorWebhook", "disabled in an enabled namespace, in any case", "DISABLED", outside),
	of("sidecarInjectorWebhook", "disabled where several nodes match: selectors are not even read", "disabled", outside).labelled(short{"twin": "yes"}),
	of("sidecarInjectorWebhook", "another value counts as not set", "yes", injected).warns(`has the value "yes", which is neither enabled nor disabled`),
	of("sidecarInjectorWebhook", "the empty text counts as not set", "", injected),
	of("sidecarInjectorWebhook", "another value where nothing selects the pod", "yes", outside).labelled(nobody).warns("runs outside the mesh"),
	about("sidecarInjectorWebhook", "an enabled namespace where nothing selects the pod", nil).labelled(nobody).
		denies("sidecarInject enabled but no matching VirtualNode or VirtualGateway found"),
	of("sidecarInjectorWebhook", "enabled where nothing selects the pod", "enabled", nil).labelled(nobody).
		denies("sidecarInject enabled but no matching VirtualNode or VirtualGateway found"),
	about("kubernetes.io/metadata.name", "the operator's own namespace is not sent", outside).in(OperatorNamespace).having(restricted),
}

// restricted lets a pod into a namespace of the strictest Pod Security Standard.
func restricted(p *corev1.Pod) {
	context := &corev1.SecurityContext{
		RunAsNonRoot: ptr.To(true), AllowPrivilegeEscalation: ptr.To(false),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	p.Spec.Containers[0].SecurityContext, p.Spec.InitContainers[0].SecurityContext = context, context
}

// selectorCases are about which node or gateway a pod is for.
var selectorCases = []Case{
	about("spec.podSelector", "one node", short{"status.node": front, "bootstrap.node": front}),
	about("spec.podSelector", "one gateway", short{"status.node": ingress, "bootstrap.node": ingress}).ofGateway(),
	about("spec.podSelector", "two nodes", nil).labelled(short{"twin": "yes"}).
		denies("found multiple matching VirtualNodes for pod injection/p-: injection/front,injection/twin"),
	about("spec.podSelector", "two nodes, and the annotation says neither enabled nor disabled", nil).labelled(short{"twin": "yes"}).
		with(short{"sidecarInjectorWebhook": "yes"}).denies("found multiple matching VirtualNodes"),
	about("spec.podSelector", "two gateways", nil).labelled(short{"second": "yes"}).ofGateway().
		denies("found multiple matching VirtualGateways for pod injection/p-: injection/ingress,injection/second"),
	about("spec.podSelector", "a node and a gateway", nil).labelled(short{"second": "yes"}).
		denies("sidecarInject enabled for both VirtualNode injection/front and VirtualGateway injection/second on pod injection/p-. Please use podSelector on one"),
	about("spec.podSelector", "the empty one selects every pod", short{"status.node": "mesh/injection/virtualNode/all_injection-wide"}).
		labelled(nobody).in(namespaceWide),
	about("spec.podSelector", "expressions", short{"status.node": "mesh/injection/virtualNode/tiered_injection"}).labelled(short{"app": "x", "tier": "two"}),
	about("spec.podSelector", "expressions that do not fit, beside a node without a selector", nil).labelled(short{"app": "x", "tier": "three"}).
		denies("no matching VirtualNode or VirtualGateway found"),
	about("rollouts-pod-template-hash", "of a node's selector", short{"status.node": rollout}).labelled(short{"app": "rollout", argoHash: "first"}),
	about("rollouts-pod-template-hash", "that no node has yet", short{"status.node": rollout}).labelled(short{"app": "rollout", argoHash: "next"}),
	about("rollouts-pod-template-hash", "absent", nil).labelled(short{"app": "rollout"}).denies("no matching VirtualNode or VirtualGateway found"),
	about("spec.awsName", "absent: name and namespace", short{"envoy.env.APPMESH_VIRTUAL_NODE_NAME": front}),
	about("spec.awsName", "a name", short{"envoy.env.APPMESH_VIRTUAL_NODE_NAME": "mesh/injection/virtualNode/a-name-of-its-own"}).labelled(short{"app": "named"}),
	about("spec.meshOwner", "another account", short{
		"envoy.env.APPMESH_RESOURCE_ARN": "mesh/injection-shared@123456789012/virtualNode/front_injection-shared",
		"bootstrap.node":                 "mesh/injection-shared@123456789012/virtualNode/front_injection-shared",
		"status.node":                    "mesh/injection-shared/virtualNode/front_injection-shared",
	}).in(namespaceShared),
	about("spec.meshOwner", "another account, on a gateway", short{
		"envoy.env.APPMESH_RESOURCE_ARN": "mesh/injection-shared@123456789012/virtualGateway/ingress_injection-shared",
	}).in(namespaceShared).ofGateway(),
	about("spec.serviceDiscovery", "Cloud Map asks for no readiness gate", short{"status.node": "mesh/injection/virtualNode/cloud_injection", "gates": ""}).
		labelled(short{"app": "cloud"}),
}

const (
	argoHash = "rollouts-pod-template-hash"
	rollout  = "mesh/injection/virtualNode/rollout_injection"
)

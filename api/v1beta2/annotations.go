package v1beta2

// Keys that users set on namespaces and pods. App Mesh's names are kept because manifests, charts and dashboards refer to them.
// Source: App Mesh controller reference, sidecar injector.
const (
	// LabelInject is the namespace label and the pod annotation that turns injection on or off: "enabled" or "disabled"
	// (case-insensitive); any other value leaves the decision to whether a node or gateway selects the pod.
	LabelInject = "appmesh.k8s.aws/sidecarInjectorWebhook"
	// AnnotationPorts lists the application ports to intercept; absent means all listener ports of the node.
	AnnotationPorts = "appmesh.k8s.aws/ports"
	// AnnotationEgressIgnoredPorts lists destination ports that are not intercepted; 22 is always among them.
	AnnotationEgressIgnoredPorts = "appmesh.k8s.aws/egressIgnoredPorts"
	// AnnotationEgressIgnoredIPs lists destination addresses or CIDRs that are not intercepted.
	AnnotationEgressIgnoredIPs = "appmesh.k8s.aws/egressIgnoredIPs"
)

// Annotations that the injector writes and the control plane reads back. They are facts about one pod; nothing else about
// a pod may influence its configuration.
const (
	// AnnotationNode names the workload a pod was injected as: "mesh/<mesh>/virtualNode/<name>" or
	// "mesh/<mesh>/virtualGateway/<name>" with effective (AWS) names. It is a fallback for pods that no object selects any more
	// and breaks ties where several do.
	AnnotationNode = "aftermesh.dev/node"
	// AnnotationProfile holds, as compact JSON, the per-pod facts that may shape configuration (see Profile).
	AnnotationProfile = "aftermesh.dev/profile"
	// AnnotationCredential is the small SDS file that tells Envoy where its xDS bearer token lies. It is projected into
	// the pod next to the token, so that Envoy re-reads the token when kubelet rotates it.
	AnnotationCredential = "aftermesh.dev/xds-credential"
)

// Profile is what a group of proxies must agree on besides the object they belong to. The injector writes it, compile reads
// it from the Pod object; what Envoy claims about itself is never used. The zero value is a pod of an unknown injector version
// with IPv4 only. Fields are compared by value, so equal profiles share one group.
type Profile struct {
	// IPFamilies of the pod, a subset of "4", "6" in this order, for example "4", "6" or "46". Empty means "4".
	IPFamilies string `json:"ip,omitempty"`
	// SDS is true when the pod mounts the socket of a local SDS provider.
	SDS bool `json:"sds,omitempty"`
	// CapturedPorts are the inbound ports that the redirect step sends to Envoy, sorted. Nil means unknown: all listener ports.
	CapturedPorts []int `json:"ports,omitempty"`
	// MetricExtension is true when the user asked for App Mesh's metric extension (APPMESH_METRIC_EXTENSION_VERSION=1).
	MetricExtension bool `json:"metricExtension,omitempty"`
	// InjectorVersion is the release of the operator that injected the pod.
	InjectorVersion string `json:"v,omitempty"`
}

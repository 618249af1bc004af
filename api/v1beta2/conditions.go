package v1beta2

// Condition types that every kind has. All of them are positive: True is good.
const (
	// ConditionAccepted says that the object is valid and in conflict with no other.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs says that everything the object names exists and may be used.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionProgrammed says that the proxies concerned acknowledged the configuration.
	ConditionProgrammed = "Programmed"
	// ConditionReady sums up the three before it.
	ConditionReady = "Ready"
)

// ConditionInjected is on nodes and gateways: every pod that they select has its proxy, and probes that pass it. Ready does not
// depend on it, because it is no fault of the object.
const ConditionInjected = "Injected"

// App Mesh's own condition types, one per kind, for scripts that wait for them. They never depend on proxies.
const (
	ConditionMeshActive           = "MeshActive"
	ConditionVirtualNodeActive    = "VirtualNodeActive"
	ConditionVirtualServiceActive = "VirtualServiceActive"
	ConditionVirtualRouterActive  = "VirtualRouterActive"
	ConditionRouteActive          = "RouteActive"
	ConditionVirtualGatewayActive = "VirtualGatewayActive"
	ConditionGatewayRouteActive   = "GatewayRouteActive"
	ConditionBackendGroupActive   = "BackendGroupActive"
)

// ActiveCondition is the App Mesh condition type of a kind: "VirtualNode" gives "VirtualNodeActive".
func ActiveCondition(kind string) string {
	return kind + "Active"
}

// Reasons of good news and of waiting.
const (
	// ReasonAccepted goes with Accepted=True.
	ReasonAccepted = "Accepted"
	// ReasonAdjusted goes with Accepted=True where a field has no effect, or another than written; the message lists JSON paths.
	ReasonAdjusted = "Adjusted"
	// ReasonResolvedRefs goes with ResolvedRefs=True.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonProgrammed goes with Programmed=True; the message counts proxies.
	ReasonProgrammed = "Programmed"
	// ReasonNoProxies goes with Programmed=True when no proxy is concerned.
	ReasonNoProxies = "NoProxies"
	// ReasonPending goes with Programmed=False or Unknown while proxies have yet to acknowledge.
	ReasonPending = "Pending"
	// ReasonInjected goes with Injected=True.
	ReasonInjected = "Injected"
	// ReasonPodsOutside goes with Injected=False: pods run without a proxy although they should have one.
	ReasonPodsOutside = "PodsOutside"
	// ReasonProbesRefused goes with Injected=False: listeners that have become STRICT refuse the probes of pods made before.
	ReasonProbesRefused = "ProbesRefused"
	// ReasonReady goes with Ready=True.
	ReasonReady = "Ready"
	// ReasonUnknown goes with status Unknown when nothing can be said yet, for example before the first proxy connected.
	ReasonUnknown = "Unknown"
)

// Reasons of ResolvedRefs=False: something that the object depends on or names.
const (
	// ReasonMeshNotDesignated: no Mesh, or more than one, selects the object's namespace.
	ReasonMeshNotDesignated = "MeshNotDesignated"
	// ReasonMeshNotFound: the Mesh of spec.meshRef does not exist.
	ReasonMeshNotFound = "MeshNotFound"
	// ReasonMeshUIDMismatch: the Mesh of spec.meshRef was deleted and recreated.
	ReasonMeshUIDMismatch = "MeshUIDMismatch"
	// ReasonMeshNotActive: the Mesh was not accepted.
	ReasonMeshNotActive = "MeshNotActive"
	// ReasonMeshMismatch: the named object belongs to another mesh.
	ReasonMeshMismatch = "MeshMismatch"
	// ReasonVirtualGatewayNotDesignated: no VirtualGateway, or more than one, selects the GatewayRoute.
	ReasonVirtualGatewayNotDesignated = "VirtualGatewayNotDesignated"

	ReasonVirtualNodeNotFound     = "VirtualNodeNotFound"
	ReasonVirtualNodeNotActive    = "VirtualNodeNotActive"
	ReasonVirtualServiceNotFound  = "VirtualServiceNotFound"
	ReasonVirtualServiceNotActive = "VirtualServiceNotActive"
	ReasonVirtualRouterNotFound   = "VirtualRouterNotFound"
	ReasonVirtualRouterNotActive  = "VirtualRouterNotActive"
	ReasonVirtualGatewayNotFound  = "VirtualGatewayNotFound"
	ReasonVirtualGatewayNotActive = "VirtualGatewayNotActive"
	ReasonBackendGroupNotFound    = "BackendGroupNotFound"

	// ReasonNameNotResolvable: no Service backs the name that clients would have to resolve.
	ReasonNameNotResolvable = "NameNotResolvable"
	// ReasonNoEndpoints: nothing answers for the node: no ready pod, or no Service of the name.
	ReasonNoEndpoints = "NoEndpoints"
	// ReasonNotIntercepted: the port that traffic would reach is not captured in the pod.
	ReasonNotIntercepted = "NotIntercepted"
	// ReasonServicePortNotFound: the Service of the node's host name has no port of the listener's number.
	ReasonServicePortNotFound = "ServicePortNotFound"
)

// Reasons of Accepted=False: the object itself, or its conflict with another.
const (
	// ReasonInvalidConfiguration: a field has a value that cannot be programmed; the message names it.
	ReasonInvalidConfiguration = "InvalidConfiguration"
	// ReasonNameConflict: an older object of the kind holds the name in this mesh.
	ReasonNameConflict = "NameConflict"
	// ReasonNameTooLong: the effective name exceeds 255 characters.
	ReasonNameTooLong = "NameTooLong"
	// ReasonHostnameConflict: an older VirtualService answers for the same host name.
	ReasonHostnameConflict = "HostnameConflict"
	// ReasonPortConflict: two services or listeners need the same port.
	ReasonPortConflict = "PortConflict"
	// ReasonRouteConflict: the router already has a route of that name.
	ReasonRouteConflict = "RouteConflict"
	// ReasonListenerMismatch: a route binds to no listener, or to one of another protocol.
	ReasonListenerMismatch = "ListenerMismatch"
	// ReasonTargetPortAmbiguous: a target has several listeners and the route does not say which, or names none of them.
	ReasonTargetPortAmbiguous = "TargetPortAmbiguous"
	// ReasonNoWeight: all weights of a route are zero.
	ReasonNoWeight = "NoWeight"
	// ReasonUnsupportedCertificateSource: a certificate or trust bundle comes from where it cannot be had.
	ReasonUnsupportedCertificateSource = "UnsupportedCertificateSource"
	// ReasonTooLarge: the object takes more than its share of what proxies or the operator can hold.
	ReasonTooLarge = "TooLarge"
	// ReasonTLSMaterialUnavailable: the certificate or trust bundle exists in name only.
	ReasonTLSMaterialUnavailable = "TLSMaterialUnavailable"
)

// Reasons of Programmed=False.
const (
	// ReasonProxyRejected: a proxy refused the configuration; the message has its words.
	ReasonProxyRejected = "ProxyRejected"
	// ReasonNotAccepted: nothing was programmed because the object was not accepted or its references do not resolve.
	ReasonNotAccepted = "NotAccepted"
)

// FindCondition returns the first condition of the type, or nil.
func FindCondition(conditions []Condition, conditionType string) *Condition {
	for i := range conditions {
		if conditions[i].Type == conditionType {
			return &conditions[i]
		}
	}
	return nil
}

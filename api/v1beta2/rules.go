package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RuleClass says what follows when an object breaks a rule.
type RuleClass string

const (
	// ClassReject means that the webhook denies the object. Where it is stored all the same, it is not served.
	ClassReject RuleClass = "reject"
	// ClassWarn means that the object is served; the value has another effect than its writer may expect, or none.
	ClassWarn RuleClass = "warn"
	// ClassCondition means that the object is stored, but it or the part that breaks the rule is not served.
	ClassCondition RuleClass = "condition"
)

// Rule is one thing that an object of this group may do wrong, and how that shows in its status.
//
// +kubebuilder:object:generate=false
type Rule struct {
	// ID is stable: M* to B* are App Mesh's own rules per kind, U* and D* its unions and dependencies between fields,
	// X* and A* what App Mesh left to AWS, V* what is served otherwise.
	ID string
	// Class says what follows.
	Class RuleClass
	// Partial says that only the part named by the finding's path is left out; the rest of the object is served.
	Partial bool
	// Reason of the condition.
	Reason string
	// About is the rule in a few words.
	About string
	// Fields are those that work differently than in App Mesh, or not at all, because of the rule: kind and JSON path below spec,
	// with [] for list items; a path stands for everything below it. NoEffect says that they have none.
	Fields   []string
	NoEffect bool
}

// Condition returns the condition type on which a broken rule shows, and its status.
func (r Rule) Condition() (conditionType string, status metav1.ConditionStatus) {
	if r.Class == ClassWarn {
		return ConditionAccepted, metav1.ConditionTrue
	}
	return ConditionAccepted, metav1.ConditionFalse
}

// Rules lists every rule that package validate judges by an object alone, and those that need other objects (X11 to X14, V1 to V5).
// The order is that of the kinds, then of the rules' numbers.
func Rules() []Rule {
	var all []Rule
	for _, group := range [][]Rule{updateRules, kindRules, unionRules, addedRules, deviations} {
		all = append(all, group...)
	}
	return all
}

// RuleByID returns the rule of that id; an unknown id gives a rule of class reject without a text.
func RuleByID(id string) Rule {
	if r, ok := rulesByID[id]; ok {
		return r
	}
	return Rule{ID: id, Class: ClassReject, Reason: ReasonInvalidConfiguration}
}

var rulesByID = func() map[string]Rule {
	m := map[string]Rule{}
	for _, r := range Rules() {
		m[r.ID] = r
	}
	return m
}()

func reject(id, about string) Rule {
	return Rule{ID: id, Class: ClassReject, Reason: ReasonInvalidConfiguration, About: about}
}

func warn(id, about string) Rule {
	return Rule{ID: id, Class: ClassWarn, Partial: true, Reason: ReasonAdjusted, About: about}
}

func otherwise(id, about string, fields ...string) Rule {
	r := warn(id, about)
	r.Fields = fields
	return r
}

func without(id, about string, fields ...string) Rule {
	r := otherwise(id, about, fields...)
	r.NoEffect = true
	return r
}

func condition(id, reason, about string) Rule {
	return Rule{ID: id, Class: ClassCondition, Partial: true, Reason: reason, About: about}
}

// updateRules are broken by changes only.
var updateRules = []Rule{
	reject("M1", "awsName of a Mesh does not change"),
	reject("N2", "awsName and meshRef of a VirtualNode do not change"),
	reject("S1", "awsName and meshRef of a VirtualService do not change"),
	reject("R1", "awsName and meshRef of a VirtualRouter do not change"),
	reject("P1", "virtualRouterRef of a Route does not change"),
	reject("G1", "awsName and meshRef of a VirtualGateway do not change"),
	reject("T1", "awsName, meshRef and virtualGatewayRef of a GatewayRoute do not change"),
	reject("B1", "meshRef of a BackendGroup does not change"),
}

// kindRules are App Mesh's webhook rules.
var kindRules = []Rule{
	reject("M2", "ipPreference is one of the known values"),
	reject("N1", "a VirtualNode with listeners has serviceDiscovery"),
	reject("N3", "a VirtualNode names no VirtualService twice"),
	reject("N4", "a VirtualNode listener has at most one kind of connectionPool"),
	reject("R2", "route names are unique within a VirtualRouter"),
	reject("R3", "an http route matches on prefix or path"),
	reject("R4", "an http route does not match on both prefix and path"),
	reject("R5", "a path match has exactly one of exact and regex"),
	reject("G2", "a VirtualGateway listener has at most one kind of connectionPool"),
	reject("T2", "a GatewayRoute has exactly one kind of route"),
	reject("T3", "an http GatewayRoute matches on prefix, path or hostname"),
	reject("T4", "an http GatewayRoute does not match on both prefix and path"),
	reject("T5", "a path match has exactly one of exact and regex"),
	reject("T6", "a hostname match has exactly one of exact and suffix"),
	reject("T7", "a header match has exactly one method, and a range starts before it ends"),
	reject("T8", "a query parameter match has exact"),
	reject("T9", "a rewrite rewrites something"),
	reject("T10", "a rewrite does not change both prefix and path"),
	reject("T11", "a prefix that is rewritten starts with a slash"),
	reject("T12", "a prefix rewrite has one of defaultPrefix and value, and value starts and ends with a slash"),
	reject("T13", "a grpc GatewayRoute matches on serviceName or hostname"),
	reject("T15", "a metadata match has exactly one method, and a range starts before it ends"),
}

// unionRules are those that AWS judged behind App Mesh's controller.
var unionRules = []Rule{
	reject("U1", "serviceDiscovery has exactly one of dns and awsCloudMap"),
	reject("U5", "a listener certificate has exactly one source"),
	reject("U6", "a listener trust has exactly one source"),
	reject("U7", "a client policy's trust has exactly one source"),
	reject("U8", "a client certificate has exactly one source"),
	reject("U9", "a log format is json or text"),
	reject("U10", "a VirtualService has one provider"),
	reject("U11", "a provider names its VirtualNode once, by reference or ARN"),
	reject("U12", "a provider names its VirtualRouter once, by reference or ARN"),
	reject("U13", "a backend names its VirtualService once, by reference or ARN"),
	reject("U14", "a weighted target names its VirtualNode once, by reference or ARN"),
	reject("U15", "a gateway route's target names its VirtualService once, by reference or ARN"),
	reject("U16", "a route has exactly one kind of route"),
	reject("U18", "a header or metadata match has exactly one method, and a range starts before it ends"),
	reject("D2", "a method name needs a service name"),
}

// addedRules have no counterpart in App Mesh's webhooks.
var addedRules = []Rule{
	reject("X2", "label selectors are well formed"),
	condition("X3", ReasonInvalidConfiguration, "no two listeners of an object share a port; the first is served"),
	reject("X4", "an ARN names a resource of a mesh, of the right kind"),
	warn("X4B", "a backend's ARN names a VirtualService; otherwise the backend is left out"),
	reject("X5", "a listener has at most one kind of timeout"),
	warn("X6", "timeout and connectionPool are of the listener's protocol; otherwise they are ignored"),
	condition("X7", ReasonInvalidConfiguration, "a grpc health check needs an http2 or grpc listener; otherwise it is ignored"),
	warn("X8", "a health check asks the listener's port"),
	warn("X9", "an http health check has a path; otherwise it asks for /"),
	warn("X10", "a prefix starts with a slash; otherwise it matches literally"),
	warn("X11", "a GatewayRoute is of its gateway listener's protocol"),
	condition("X12", ReasonListenerMismatch, "a route is of its router listener's protocol"),
	condition("X13", ReasonListenerMismatch, "a route's port names one of several listeners"),
	condition("X14", ReasonTargetPortAmbiguous, "a target's port names one of several listeners"),
	condition("X15", ReasonNoWeight, "a route gives some target a weight; otherwise it answers 503"),
	warn("X17", "a VirtualRouter has listeners; otherwise it serves no port"),
	condition("X18", ReasonInvalidConfiguration, "a regular expression is RE2; otherwise its route is left out"),
	condition("X19", ReasonInvalidConfiguration, "Envoy can parse a log format; otherwise its own default is used"),
	warn("X20", "a rewrite fits its match"),
	warn("X21", "a header name is not blank; otherwise the matcher is ignored"),
	{ID: "X24", Class: ClassCondition, Reason: ReasonNameTooLong, About: "a name in the mesh has at most 255 characters"},
	condition("X27", ReasonInvalidConfiguration, "a listener keeps away from the proxy's own ports; otherwise it is not served"),
	reject("X29", "a VirtualNode without podSelector is not found at loopback, link-local or metadata addresses"),
	without("X28", "nobody makes a gateway's own health check: the load balancer before the gateway checks it", "VirtualGateway.listeners[].healthCheck"),
	reject("X31", "a host name is written in its ASCII form, and that of a node without a port"),
	without("A1", "every mesh belongs to its cluster", "Mesh.meshOwner"),
}

// deviations are what compile says when it serves a field differently from App Mesh.
var deviations = []Rule{
	otherwise("V1", "the mesh's own authority replaces the ARN, unless MeshSettings map it to a Secret",
		"VirtualNode.listeners[].tls.certificate.acm", "VirtualGateway.listeners[].tls.certificate.acm"),
	otherwise("V2", "the mesh's own authority is trusted in place of the ARN, unless MeshSettings map it to a Secret",
		"VirtualNode.backendDefaults.clientPolicy.tls.validation.trust.acm", "VirtualNode.backends[].virtualService.clientPolicy.tls.validation.trust.acm",
		"VirtualGateway.backendDefaults.clientPolicy.tls.validation.trust.acm", "VirtualGateway.listeners[].tls.validation.trust.acm"),
	otherwise("V3", "a proxy can write /dev/stdout, /dev/stderr and files in /tmp; for any other path it writes /dev/stdout",
		"VirtualNode.logging.accessLog.file.path", "VirtualGateway.logging.accessLog.file.path"),
	without("V4", "the meshes of a group's members count, not the group's own, as in App Mesh", "BackendGroup.meshRef"),
	otherwise("V5", "the instances are the ready pods of the nodes that name the same Cloud Map service, without AWS Cloud Map", "VirtualNode.serviceDiscovery.awsCloudMap"),
}

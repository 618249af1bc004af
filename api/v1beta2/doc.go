// Package v1beta2 holds the kinds of the API group appmesh.k8s.aws: Mesh, VirtualNode, VirtualService, VirtualRouter,
// VirtualGateway, GatewayRoute and BackendGroup as App Mesh's controller defined them, and Route, one route of a
// VirtualRouter as an object of its own.
//
// The types are the source of the CRDs in config/crd and of the deep copies in zz_generated.deepcopy.go. Their schemas
// accept every object that App Mesh's schemas accept: fields may be added, enumerations and bounds may grow, nothing may
// shrink. No default is declared in the schemas, because tools that compare a stored object with its manifest would see it
// as drift; comments name the value that counts when a field is absent.
//
// Optional scalars are pointers, so that an absent field and a zero value stay apart. A label selector that is absent
// selects nothing, an empty one everything; VirtualGatewaySpec.GatewayRouteSelector is the exception.
//
// Unions (exactly one of several fields) are not part of the schemas; package validate judges them with the wording that
// webhooks and offline checks share.
//
// The package imports apimachinery only. Start reading at mesh.go and shared.go.
//
// +kubebuilder:object:generate=true
// +groupName=appmesh.k8s.aws
package v1beta2

// Package lifetime decides how objects come and go: which finalizers they carry and what their deletion waits for, which objects
// are on their way out and no longer served, which system fields an object stored without a webhook lacks, and which
// specification of an object was the last one accepted.
//
// Everything is a pure function of input.Objects, except Memory, which remembers between passes what was accepted; the clock,
// the API server and the proxies are the caller's business:
//
//	Plans      finalizers to add, to release now, to release when no proxy depends on the object, and reasons to wait
//	Serve      the same objects without those that are being deleted and that nothing holds: what compile sees
//	Complete   the meshRef, awsName and virtualGatewayRef that the webhook would have written
//	Memory     the last accepted specification of each object, an input of the next pass
//	Revision   the form in which that survives a restart: a ControllerRevision owned by the object
//
// An object that is being deleted is held by what refers to it and stays: GatewayRoute → VirtualService → VirtualRouter →
// VirtualNode for references, and membership in a Mesh or a VirtualGateway. This graph has no cycles, so that the deletion of
// everything always comes to its end. Being somebody's backend holds nothing,
// and nothing in another namespace does: nobody could delete what others refer to, or the namespace that it is in.
//
// The package imports api, input, mesh, membership and Kubernetes' types, no client. Start reading at finalizers.go.
package lifetime

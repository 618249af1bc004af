// Package compile turns what users wrote into a mesh.Model and a list of Problems. It is one pure function: no clock, no
// client, no logger, no random numbers, and the same result whatever the order of its input.
//
// It reads as a list of passes over one builder, in compile.go:
//
//  1. index: sort the objects and find them by name
//  2. membership: which Mesh each object belongs to, and who holds a name that two claim
//  3. destinations: the listeners of each node as callers see them, with endpoints
//  4. routes: inline routes and Route objects of each router, merged, in matching order
//  5. services: what each virtual service answers on its ports
//  6. hosts: the names that the operator's DNS server answers
//  7. workloads: each node with its backends, and its listeners: inbound in listener.go, outbound in outbound.go and share.go, ways out of
//     the mesh in exits.go
//  8. gateways: each with the listeners of its two hops, in gateway.go and secondhop.go
//  9. members: which proxies belong to which workload
//  10. seal: fingerprints and sorting
//
// Names of route configurations, filter chains, virtual hosts, clusters and statistics are App Mesh's, because dashboards and alerts refer
// to them. They are made where what they name is made.
//
// A mistake of a user becomes a Problem that names object, field and remedy, and costs only the part it is in. A reference that
// does not resolve keeps its share of the traffic and answers 503; it never falls through to something broader.
//
// The package imports the api types, input, mesh, membership and validate, and nothing that talks to anybody.
package compile

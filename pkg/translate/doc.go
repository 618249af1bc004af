// Package translate turns a mesh.Model into the Envoy resources of each group of proxies: an xds.Set per group.
//
// Everything here is a pure function of the model. Leaves (one listener, one route configuration, one cluster, one assignment)
// are built from a small input value and remembered by the hash of that input, so that a pass over an unchanged model costs
// map look-ups only; a leaf that needs one more fact gets a larger input, nothing is read from the side. The memory keeps what
// the last pass used.
//
// There is one way: listeners, routes, clusters. What is said here depends on no kind of resource that users write. Names are the model's,
// but for those of Envoy's listeners, which follow from the port. Invariants that Envoy forces, each measured on the real one:
//
//   - Listener-level fields never change during a proxy's life; change is expressed by filter chains only.
//   - Route configurations are always delivered by RDS under stable names.
//   - The assignment of a cluster is subscribed under a name that contains a hash of the cluster, so that a changed cluster
//     asks for its endpoints again and does not stay warming.
//   - Every listener and route configuration states the clusters it needs; the server holds it until these are warm.
//
// Start with Translator.Translate, then sockets.go, listener.go, route.go and cluster.go. The package imports mesh and xds, and Envoy's API.
package translate

// Package clients proves with real Envoys what clients may do to each other, and what they get.
//
// Proxies share connections: all requests to one HTTP/2 backend travel on one connection between two proxies. Tests here hold some
// requests open on such a connection, let another client do something odd (an upgrade, a malformed or oversized request, many
// cancelled ones, a response that is never read), and demand that the held ones are answered and were executed once.
//
// A laboratory is a set of proxies, each started with the configuration that the pipeline makes of manifests, in one network
// namespace: every workload has an address of its own on loopback, and nftables redirect connections as in pods. The package runs
// itself again in that namespace.
package clients

// Package xds serves sets of Envoy resources over delta ADS. It knows no mesh: a set belongs to a group, a proxy belongs to a
// group, and what is in a set was decided elsewhere.
//
//	Resource   one Envoy resource; its bytes are made once and shared by every stream
//	Set        all resources of a group; immutable, versioned by content
//	Snapshot   all sets of one pass, and which proxy is in which group; Cache.Publish swaps it in
//	Server     the gRPC service; one value of go-control-plane's delta server per stream, in front of a stream of ours
//
// What a stream guarantees, each forced by how Envoy behaves:
//
//   - Nothing is answered before the first snapshot, nor to a proxy without a group: absence must never look like deletion.
//   - New clusters come first; a listener or route that needs a cluster the proxy has not acknowledged waits for it, at most five
//     seconds, and then goes without it. Endpoints are answered at once and wait for nothing.
//   - Removals come in a response of their own. Clusters go last, half a minute after every listener and route that may have used
//     them is acknowledged, because connections of a replaced filter chain still use them.
//   - A name that does not exist is answered by type: an empty assignment, a route configuration without hosts, a removal for
//     secrets. What a proxy has had before is left as it was for as long as it asks for it.
//   - A NACK quarantines the refused content, and everything else of that response is sent again.
//   - A proxy has acknowledged a set when it has acknowledged every resource of it with exactly that content.
//
// The authenticated identity decides the group; what Envoy says about itself is kept for logs only. Start with stream.go.
package xds

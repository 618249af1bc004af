// Package image makes container images out of files of this machine, with no
// registry and no builder: a docker-archive tar of one uncompressed layer, a
// configuration and a manifest.
//
// The same input gives the same bytes (times are the epoch, entries are sorted),
// so an image's ID says whether it changed. One archive may carry many names;
// names may be short ("envoyproxy/envoy:distroless-v1.40.0"), the importing
// containerd expands them as it expands the names that pods use.
//
// Start at Image and Write. Envoy and Static describe the usual two: a dynamic
// program with the libraries it needs, and a static one.
package image

// Package source fills input.Objects, from the informers of a cluster or from a directory of YAML, and says that something
// changed. It converts each object once per change into the small form that compile reads, so that a pass copies pointers only.
//
// Nothing is reported before everything has been listed once: absence of knowledge must never look like deletion.
//
// Cluster reads Kubernetes, Files reads YAML. The package points at input and api, and what reads stored objects; nobody below it knows where objects come
// from.
package source

// Package schema does to an object in a file what an API server does to it before any webhook of ours sees it: unknown fields are
// pruned, defaults are filled in, and the rest is validated. It uses the API server's own code for that (the structural schemas of
// k8s.io/apiextensions-apiserver), on the same generated CustomResourceDefinitions that a cluster is installed with.
//
// A definition is read when the first object of its kind is met and then kept: a process that reads no files, such as the
// operator, pays for none. Kinds are safe for concurrent use.
//
// Start reading at Of. The package imports nothing of ours but the definitions.
package schema

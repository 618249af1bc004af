// Package mesh is the model between what users wrote and what Envoy gets: plain values that say what was decided, with all
// defaults applied, all references resolved to pointers and all durations typed. It knows neither custom resources nor Envoy.
//
// Compile builds one Model per pass and nobody changes it afterwards, so pointers may be shared freely between goroutines.
// A value that does not depend on pods has a Fingerprint, a hash over its whole content; equal fingerprints mean that whatever
// was made from the value may be used again. Endpoints keep their own, so that pod churn moves assignments and nothing else.
//
// Every node carries the Object that caused it, which is what conditions, `explain` and error messages name.
// A fault of a user is a Problem, never an error.
//
// A workload has listeners. The chains of a Listener say which connections it takes; its Routes say what HTTP requests meet, by host and
// then in order; its targets, or those of a route, are Destinations. None of this depends on the kind of resources that users write: a
// front-end decides all names, and what it needs of its own (a second hop, a helper header, a closed port) it builds of the same parts.
//
// Start with Model, then Workload (who runs a proxy), Listener, Routes, Destination (where it goes) and Service (what is called).
// The package imports nothing of this module.
package mesh

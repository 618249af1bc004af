// Package status says what is true about each object: what was accepted, what could not be resolved, and how many of how many
// proxies run it now. It turns the Problems of a pass and the rows of the stream table into conditions, as values; who writes
// them and how often is the writer's business.
//
// The conditions of every kind:
//
//	Accepted      the object is valid and not in conflict; reason Adjusted lists fields that have another effect, or none
//	ResolvedRefs  everything it names exists and may be used
//	Programmed    every counted proxy that depends on it has acknowledged a configuration made from this generation
//	Ready         all of the above
//	<Kind>Active  App Mesh's own condition, for old scripts: some generation works; it never depends on proxies
//
// A proxy counts as having acknowledged a generation when the content it acknowledged is what was published at or after the
// first pass that saw this generation. Content is compared, not events, so a change that alters no byte is true at once, and a
// proxy that reconnects with what it already has counts as well.
//
// The package imports api, input and mesh, no client and no clock.
package status

// Package pipeline joins the three pure stages: Step takes Objects, compiles, translates and publishes, and keeps the last
// Snapshot behind one atomic pointer for everybody who only reads: status, admin API, command line. It knows no source and
// nothing of Kubernetes.
//
// It also remembers, per object, the first pass that saw its present generation, and per group, which contents were published
// when; from these two follows whether a proxy runs a change, by comparing content.
package pipeline

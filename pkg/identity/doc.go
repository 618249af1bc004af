// Package identity makes and renews certificates: authorities with an overlap of roots, and the leaves they issue. Time comes
// from the caller, so that renewal can be tested without waiting.
//
// The operator has two authorities that have nothing to do with workloads: one for its webhooks and the talk between its
// replicas, and one for the xDS port, whose root stands in the command line of every running proxy and therefore lives long.
// An Authority is what is stored; an Issuer turns it into leaves that every replica makes for itself, in memory.
package identity

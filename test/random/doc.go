// Package random makes sets of custom resources that nobody would write: every field of every kind filled by chance with good, odd
// and bad values that fit its name, references that lead somewhere, nowhere or round in circles, names that collide.
//
// It works by reflection over the types of the API, so that a new field takes part without a word here. The tests of this package compile
// and translate such sets; package test/envoy/random gives them to a real Envoy.
package random

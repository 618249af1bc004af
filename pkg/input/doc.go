// Package input holds what goes into a pass and what comes out: the Objects that sources fill in, and the Result that statuses, events and
// certificates are made from. So those who read or write these need not import compile.
//
// It imports the api types and mesh, and does nothing but find and name objects.
package input

// Package cli is the command line: one file per verb. A verb parses its arguments, calls the function that the operator itself
// uses, and prints; it has no logic of its own. Output is a table for people, or with -o json|yaml for machines.
//
// Exit codes: 0 done (also with warnings), 1 something is wrong with what was looked at, 2 the command was used wrongly.
package cli

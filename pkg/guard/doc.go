// Package guard bounds what clients may take of a server before anybody knows who they are, and what large messages may take after.
//
//	Listener   bounds connections by source and in all; a connection without a proven client ends soon
//	Conn       a connection of it: Prove says that its client is known, Blame that it showed no valid credential
//	Credentials makes the Conn of a gRPC stream available to its handler, by FromContext
//	Rates      bounds how many packets of each source are read
//	Turns      lets a few HTTP requests be handled at a time, fairly among their sources
//
// New clients are refused before old ones are touched: nothing that a stranger does ends a connection that serves a known client.
// A source is an IPv4 address or an IPv6 network of 64 bits. The package knows neither Kubernetes nor xDS.
package guard

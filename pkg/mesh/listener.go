package mesh

import "time"

// Listener takes connections of a workload and says where they lead: HTTP by Routes, anything else to Targets.
type Listener struct {
	// Port is what clients dial. 0 takes the connections to every port that no other listener takes.
	Port uint32
	// Object is what the listener leads to; without one it is the workload's own.
	Object Object
	// Direct listeners are dialled themselves, outbound ones on loopback only. Connections to the others are redirected to the proxy.
	Direct bool
	// Chains say which connections are meant. Each stands for itself, so that a change of one ends no connection of another.
	Chains []Chain
	// StatPrefix begins the names of the listener's statistics.
	StatPrefix string
	// Silent listeners write no access log: another one of the proxy does for their connections.
	Silent bool
	// TLS is nil for clear text.
	TLS *ServerTLS
	// RouteConfiguration names Routes. Of these, only the name is part of the listener's fingerprint; listeners of one name have the
	// same routes.
	RouteConfiguration string
	Routes             *Routes `hash:"-"`
	// Hops is how many proxies of the mesh an HTTP request may have passed before.
	Hops uint32
	// Edge is set where requests come from outside the mesh.
	Edge *Edge
	// Targets are the weighted targets of connections without routes, of which Idle closes silent ones.
	Targets []Target
	Idle    *time.Duration
	// Fingerprint is set where several workloads share the listener.
	Fingerprint Hash `hash:"-"`
}

// Chain describes connections to the port of its listener; all given criteria must hold.
type Chain struct {
	Name string
	// Addresses are those that clients dial; none means every one that no other chain of the port has.
	Addresses []string
	// ServerNames restrict the chain to TLS connections for these names.
	ServerNames []string
	// Inspected chains are for connections that a chain of an outbound listener leads to the workload's inspector, which reads their
	// first bytes. The others take connections before anybody speaks, so that protocols in which the server speaks first work.
	Inspected bool
	// Opening is what the first bytes must be, as far as they are looked at.
	Opening Opening
}

// Opening is what the first bytes of a connection are.
type Opening int

// What the first bytes can be told to be.
const (
	// Anything is also what was not looked at.
	Anything Opening = iota
	// Encrypted is TLS.
	Encrypted
	// ClearText is anything but TLS.
	ClearText
	// ClearHTTP is HTTP in clear text.
	ClearHTTP
)

// Edge is what a listener at the edge of the mesh believes.
type Edge struct {
	// TrustedHops is how many proxies in front of it are believed: what they say of the client's address and protocol counts.
	TrustedHops uint32
}

// Package nameserver is an authoritative DNS server for the names that only AWS Cloud Map's DNS resolved: those of virtual services and
// of nodes that register in Cloud Map. The cluster's DNS forwards their zones to it.
//
// Table is a pure function from the hosts of a model to answers. Server is thin: it listens, asks the current table and writes. The
// answers hold for five seconds at most, the negative ones for three, so that a new name works within that time.
//
// The server is bounded: it answers from the table only, asks nobody else, has no zone transfers, serves a limited number of TCP
// connections, and never says more than a UDP client can take. An answer has one name, and eight addresses at most.
package nameserver

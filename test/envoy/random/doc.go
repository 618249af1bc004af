// Package random gives random sets of custom resources, one after the other, to a real Envoy, which must refuse nothing: whatever users
// write, the proxy can run what is made of it. The package runs itself again in a network namespace of its own, because the ports of
// gateways are taken by chance.
package random

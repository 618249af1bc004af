// Package gateway serves a VirtualGateway by `aftermesh standalone` to real Envoys and asks them: which service and path requests
// reach by host, path, method, header, query, gRPC service and port; what clients cannot forge; what a connection pool bounds.
// The package runs itself again in a network namespace of its own, because ports of gateways are fixed.
package gateway

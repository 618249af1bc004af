// Package admin is the operator's read-only HTTP API: what the last snapshot holds and which proxies run it, as JSON for the
// command line. It listens on loopback only, where `kubectl port-forward` reaches it, and asks everybody for a token.
package admin

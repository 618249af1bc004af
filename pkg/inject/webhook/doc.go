// Package webhook answers the API server's question about each new pod with the decision of package inject.
//
// It reads objects from the operator's cache. Only when the answer would rest on something absent or found twice it reads
// the API server itself, once, because a cache may be behind the object that was applied a moment before the pod. The patch
// it returns names only what changed, so fields that this release does not know survive.
//
// Register Handler at Path with controller-runtime's webhook server.
package webhook

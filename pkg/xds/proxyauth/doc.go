// Package proxyauth says who opened an xDS stream.
//
// In a cluster that is decided by a service account token bound to a pod, with an audience of ours: its signature is checked with
// the cluster's published keys, and the pod and service account in it against what the operator knows of that pod. What the
// proxy calls itself plays no part. Where the keys cannot be read, the API server is asked about the token instead.
//
// Outside a cluster it is decided by the node id, by a client certificate, or by a list of tokens.
package proxyauth

// Command bench measures the control plane as a process: the operator's binary against a real etcd and kube-apiserver, 300 services,
// 600 delta streams with real tokens bound to pods. It prints how long a change takes from the API server's answer to the last
// proxy it concerns, what a stream costs, and how long all proxies need after the operator was killed.
//
// There is no node: pods are objects with a status that says they run, and proxies are clients of ours that speak the protocol as
// Envoy does. The webhooks are left out, because nobody could reach them; objects are written as the webhooks would leave them.
//
// A figure that misses its bar makes the command fail. Run it on a machine that does nothing else.
package main

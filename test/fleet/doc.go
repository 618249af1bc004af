// Package fleet is a mesh without machines: a real etcd and kube-apiserver, the operator's binary as a process, services with routers
// and nodes, pods that are objects with a status that says they run, and for each of them a client that speaks delta xDS as Envoy does,
// with a real token bound to its pod. Benches and tests of the control plane as a whole use it.
//
// The webhooks are left out, because nobody could reach them; objects are written as the webhooks would leave them.
//
// Start with New, then NewOperator, Operator.Start, Connect and InStep.
package fleet

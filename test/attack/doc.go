// Package attack attacks the operator as a tenant, as a compromised proxy or as anybody in the cluster's network could, and proves the
// promises of docs/security.md. Everything is real but the machines: etcd and kube-apiserver, the installation as `kubectl apply -k
// config/default` leaves it, the operator's binary as a process with the rights of config/rbac, with its webhooks, in a memory cgroup of
// the size of the container's limit.
//
// start(t) gives a test a World. There are three tenants:
//
//	bench   the honest mesh of package test/fleet with proxies that are connected; Watch changes its routes and measures how long they
//	        take to arrive, and how much memory the operator has, while something else happens
//	bank    the victim, a namespace of the same mesh; what is in it is up to the test
//	evil    the attacker: World.Evil has the rights on pods, Services and the kinds of the group in its own namespace, and no others
//
// World.Pod makes a pod through the webhooks and says that it runs; World.Open opens a stream with its token. Every attack is bounded in
// count and by the flag -each, the time that it goes on.
package attack

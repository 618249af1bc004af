// Package apiserver gives a Go test a real API server (etcd and kube-apiserver, no
// node, no controllers) in about three seconds:
//
//	server := apiserver.Start(t)
//	client, err := client.New(server.Config(), client.Options{})
//
// Several run side by side, each on free ports with its own data; each ends with
// its test, and at the latest with the test process. Needs no root. The first
// start on a machine builds the Kubernetes binary, which takes minutes: run
// `devcluster install` before. Objects stay as written: nothing makes default
// service accounts, ends namespaces or collects garbage.
package apiserver

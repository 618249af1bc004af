// Command devcluster runs a one-node Kubernetes on this machine, and bare API
// servers, for development and tests. See package cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/aftermesh/aftermesh/test/cluster"
)

const usage = `usage: go run ./test/cluster/cmd/devcluster VERB

  up [--ip-family ipv4|dual|ipv6] [--envoy VERSION]...   start the cluster (nothing to do: returns at once)
  down [--force]                                         remove it and every trace; --force: also another working copy's
  status                                                 processes, health, paths; exit code 1 unless healthy
  install [--envoy VERSION]...                           make everything up needs, start nothing
  envoy VERSION...                                       fetch stock Envoys, print their paths
  kubeconfig                                             print the kubeconfig's path
  env                                                    print shell lines that set KUBECONFIG and PATH
  load FILE.tar...                                       import docker or OCI archives
  image --name NAME:TAG... --file HOST:PATH[:MODE]... [--entrypoint A]... [--cmd A]... [--env K=V]... [--user U] [-o FILE]
                                                         make an image of files and import it (or write it to FILE)
  image envoy VERSION [--name NAME:TAG]...               import the stock Envoy image of a version
  image static BINARY --name NAME:TAG...                 import an image of one static program, at /BINARY's name
  apiserver start [--id ID] [-- FLAG...]                 start etcd and kube-apiserver alone; prints id and kubeconfig
  apiserver list | stop ID... | stop --all
`

var verbs = map[string]func(context.Context, cluster.Layout, []string) error{
	"up": up, "down": down, "status": status, "install": install, "envoy": envoy, "kubeconfig": kubeconfig,
	"env": env, "load": load, "image": imageVerb, "apiserver": apiserver,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	l, err := cluster.Find()
	if err == nil {
		err = verbs[os.Args[1]](ctx, l, os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devcluster: "+err.Error())
		os.Exit(1)
	}
}

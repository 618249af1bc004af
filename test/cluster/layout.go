package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// runDir holds what must lie on a short path or be found from any working copy:
// sockets, pid records and the owner's name.
const runDir = "/run/aftermesh-cluster"

// Versions of what the cluster is made of; Kubernetes' own stands in kube/go.mod.
const (
	// DefaultEnvoy is the sidecar's Envoy version unless a caller asks for another.
	DefaultEnvoy = "1.40.0"
)

// Layout names every path of a working copy's cache. The zero value is useless; take it from Find.
type Layout struct {
	// Root is the absolute path of the repository.
	Root string
}

// Find returns the layout of the working copy that holds the current directory.
func Find() (Layout, error) {
	dir, err := os.Getwd()
	if err != nil {
		return Layout{}, err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "cluster", "kube", "go.mod")); err == nil {
			return Layout{Root: dir}, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return Layout{}, errors.New("not inside a working copy of the repository (no test/cluster/kube above the current directory)")
		}
		dir = parent
	}
}

// Cache returns a path below the one folder that holds everything made on this machine.
func (l Layout) Cache(elem ...string) string {
	return filepath.Join(append([]string{l.Root, ".cache"}, elem...)...)
}

// Bin returns the path of a built program: kube, kubectl, etcd, kube-apiserver, pause, …
func (l Layout) Bin(name string) string { return l.Cache("bin", name) }

// Envoy returns the path of a stock Envoy binary.
func (l Layout) Envoy(version string) string { return l.Cache("envoy", version, "envoy") }

// StaticFlags are the flags by which an Envoy, given by version or path, takes what the control plane sends from a file. Over xDS Envoy
// ignores fields that it does not know; in a file it refuses them, which would hide typing errors if every version were let off.
func StaticFlags(envoy string) []string {
	if strings.Contains(envoy, "1.37.") { // max_header_field_size_kb of HTTP/2
		return []string{"--allow-unknown-static-fields"}
	}
	return nil
}

// Kubeconfig returns the path of the administrator's kubeconfig of the cluster.
func (l Layout) Kubeconfig() string { return l.state("kubeconfig") }

// state returns a path below the cluster's own state, which Down removes.
func (l Layout) state(elem ...string) string {
	return l.Cache(append([]string{"cluster"}, elem...)...)
}

// source returns a path below this package's sources.
func (l Layout) source(elem ...string) string {
	return filepath.Join(append([]string{l.Root, "test", "cluster"}, elem...)...)
}

func socket() string    { return filepath.Join(runDir, "containerd.sock") }
func pidDir() string    { return filepath.Join(runDir, "pids") }
func ownerFile() string { return filepath.Join(runDir, "owner") }

// Package install builds programs of this repository, loads them into the one-node cluster as images, and installs Aftermesh as a user
// does: by kubectl apply -k.
package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/cluster/image"
)

// Image builds the program in a folder, given from the root of the repository, and loads it as aftermesh/<name>:dev. It reports
// whether the image is another one than before.
func Image(ctx context.Context, l cluster.Layout, name, from string) (changed bool, err error) {
	binary := l.Bin(name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, from)
	cmd.Dir, cmd.Env, cmd.Stderr = Root(l), append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := cmd.Run(); err != nil {
		return false, fmt.Errorf("build %s: %w", name, err)
	}
	return l.Load(image.Static(binary, "/"+name, "aftermesh/"+name+":dev"))
}

// Root is the root of the repository, where go.mod is.
func Root(l cluster.Layout) string { return filepath.Dir(l.Cache()) }

// Kubectl runs kubectl; its error carries what kubectl said.
type Kubectl struct{ Program, Kubeconfig string }

// Of returns the kubectl of the one-node cluster.
func Of(l cluster.Layout) Kubectl { return Kubectl{l.Bin("kubectl"), l.Kubeconfig()} }

// Run runs one command and returns its output.
func (k Kubectl) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.Program, append([]string{"--kubeconfig", k.Kubeconfig}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// Operator installs Aftermesh and waits until it runs. image replaces the one of the manifests unless it is empty; restart makes
// an operator that runs already start again, because the content of its image has changed.
func Operator(ctx context.Context, k Kubectl, root, image string, restart bool) error {
	if restart {
		// Without an operator there is nothing to restart.
		_, _ = k.Run(ctx, "-n", "aftermesh-system", "rollout", "restart", "deployment/aftermesh")
	}
	if _, err := k.Run(ctx, "apply", "-k", filepath.Join(root, "config/default")); err != nil {
		return err
	}
	if image != "" {
		if _, err := k.Run(ctx, "-n", "aftermesh-system", "set", "image", "deployment/aftermesh", "controller="+image); err != nil {
			return err
		}
	}
	_, err := k.Run(ctx, "-n", "aftermesh-system", "rollout", "status", "deployment/aftermesh", "--timeout=120s")
	return err
}

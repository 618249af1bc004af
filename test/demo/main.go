// Command demo goes from a bare machine to a running mesh: it starts a one-node Kubernetes, installs Aftermesh by kubectl, applies
// App Mesh manifests and moves a canary by kubectl while a caller asks for it all the time, then prints who really answered.
//
//	demo                                  everything on a cluster of its own
//	demo --quick                          fewer requests, for tests
//	demo --kubeconfig FILE --image NAME   on a cluster that is there, after a yes
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/install"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	d := demo{out: os.Stdout, start: time.Now()}
	flag.BoolVar(&d.quick, "quick", false, "fewer requests, for tests")
	flag.StringVar(&d.kubeconfig, "kubeconfig", "", "an existing cluster (with --image); default is a cluster of its own")
	flag.StringVar(&d.image, "image", "", "image of the operator on that cluster")
	flag.Parse()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run.
type demo struct {
	out                       *os.File
	start                     time.Time
	quick, restart            bool
	kubeconfig, image, kubect string
	layout                    cluster.Layout
}

// samples are the manifests of the demo, below the repository's root.
const samples = "config/samples/canary"

func (d *demo) run(ctx context.Context) error {
	l, err := cluster.Find()
	if err != nil {
		return err
	}
	d.layout = l
	if (d.kubeconfig == "") != (d.image == "") {
		return errors.New("--kubeconfig and --image belong together: a cluster that is there needs an image it can pull")
	}
	steps := []func(context.Context) error{d.ownCluster, d.images, d.install, d.apply, d.canary}
	if d.kubeconfig != "" {
		d.kubect = "kubectl"
		steps = []func(context.Context) error{d.confirm, d.install, d.apply, d.canary}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("done; look around with")
	fmt.Fprintf(d.out, "    export KUBECONFIG=%s PATH=%s:$PATH\n    aftermesh status -A; aftermesh proxies -A; kubectl -n demo get pods\n    make demo-down removes everything\n", d.kubeconfig, d.layout.Cache("bin"))
	return nil
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "[%4.0fs] "+format+"\n", append([]any{time.Since(d.start).Seconds()}, args...)...)
}

// confirm asks before anything is done to somebody's cluster.
func (d *demo) confirm(ctx context.Context) error {
	name, err := d.kubectl(ctx, "config", "current-context")
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "This installs Aftermesh with image %s and the namespace demo into context %s. Type yes to go on: ", d.image, strings.TrimSpace(name))
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return errors.New("not confirmed, nothing was done")
	}
	return nil
}

func (d *demo) ownCluster(ctx context.Context) error {
	p := cluster.NewProgress(d.out)
	if err := d.layout.Up(ctx, p, cluster.UpOptions{}); err != nil {
		return err
	}
	d.kubeconfig, d.kubect = d.layout.Kubeconfig(), d.layout.Bin("kubectl")
	d.say("a one-node Kubernetes runs")
	return nil
}

// images builds the operator and the demo's application and loads both.
func (d *demo) images(ctx context.Context) error {
	for name, from := range map[string]string{"aftermesh": ".", "demo": "./test/demo/app"} {
		changed, err := install.Image(ctx, d.layout, name, from)
		if err != nil {
			return err
		}
		d.say("image aftermesh/%s:dev %s", name, map[bool]string{true: "built and loaded", false: "is up to date"}[changed])
		d.restart = d.restart || changed && name == "aftermesh"
	}
	return nil
}

func (d *demo) install(ctx context.Context) error {
	if err := install.Operator(ctx, install.Kubectl{Program: d.kubect, Kubeconfig: d.kubeconfig}, install.Root(d.layout), d.image, d.restart); err != nil {
		return err
	}
	d.say("Aftermesh is installed: kubectl apply -k config/default")
	return nil
}

// apply puts the manifests in, the mesh first as App Mesh's users do, and waits for the pods.
func (d *demo) apply(ctx context.Context) error {
	for _, f := range []string{"mesh.yaml", "nodes.yaml", "router-90-10.yaml", "app.yaml"} {
		if _, err := d.kubectl(ctx, "apply", "-f", filepath.Join(install.Root(d.layout), samples, f)); err != nil {
			return err
		}
	}
	for _, name := range []string{"blue", "green", "front"} {
		if _, err := d.kubectl(ctx, "-n", "demo", "rollout", "status", "deployment/"+name, "--timeout=120s"); err != nil {
			return err
		}
	}
	d.say("App Mesh manifests applied, unmodified; 5 pods run with a sidecar each")
	return nil
}

// kubectl runs one command; its error carries what kubectl said.
func (d *demo) kubectl(ctx context.Context, args ...string) (string, error) {
	return install.Kubectl{Program: d.kubect, Kubeconfig: d.kubeconfig}.Run(ctx, args...)
}

// Command injection tries the injection of proxies in the one-node cluster, through the operator that is installed there:
//
//	injection [-o table|json]
//
// It creates the pods of package injection as dry runs, first those for an operator without flags, then those for each set of flags, with
// which it lets the operator restart. Meanwhile it has namespaces and meshes whose names begin with "injection", and changes the
// arguments of the operator's Deployment; at the end all that is as before. Exit code 1 means that a case failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/cli"
	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/injection"
	"github.com/aftermesh/aftermesh/test/install"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l := &lab{out: os.Stdout, began: time.Now()}
	format := flag.String("o", "table", "output: table or json")
	flag.Parse()
	if *format == "json" {
		l.out = os.Stderr
	}
	cfg, err := prepare(ctx, l.out)
	var results []injection.Result
	if err == nil {
		results, err = l.run(ctx, cfg)
	}
	if len(results) > 0 {
		err = errors.Join(err, report(os.Stdout, results, *format))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "injection:", err)
		os.Exit(2)
	}
	if !injection.Summarize(results).Good() {
		os.Exit(1)
	}
}

// lab is the cluster in which the cases are tried.
type lab struct {
	out     io.Writer
	began   time.Time
	client  client.Client
	cluster *injection.Cluster
	// args are the operator's arguments as they were.
	args []string
}

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.out, "[%4.0fs] "+format+"\n", append([]any{time.Since(l.began).Seconds()}, args...)...)
}

// run tries all cases. Whatever happens, the cluster is left as it was.
func (l *lab) run(ctx context.Context, cfg *rest.Config) (results []injection.Result, err error) {
	if err := l.learn(ctx, cfg); err != nil {
		return nil, err
	}
	// What an earlier run left when it was killed.
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	defer func() {
		const patience = 5 * time.Minute
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		l.say("the operator gets its own flags back")
		err = errors.Join(err, l.setFlags(ctx, nil), l.clear(ctx))
	}()
	if err := l.populate(ctx); err != nil {
		return nil, err
	}
	for _, g := range injection.Groups(injection.Cases()) {
		if err := l.setFlags(ctx, g.Flags); err != nil {
			return results, err
		}
		l.say("%d cases for an operator with %d flags", len(g.Cases), len(g.Flags))
		for _, c := range g.Cases {
			if err := ctx.Err(); err != nil {
				return results, err
			}
			results = append(results, injection.Result{Case: c, Differences: l.cluster.Try(ctx, c)})
		}
	}
	return results, nil
}

// prepare starts the cluster and installs Aftermesh.
func prepare(ctx context.Context, out io.Writer) (*rest.Config, error) {
	layout, err := cluster.Find()
	if err != nil {
		return nil, err
	}
	if err := layout.Up(ctx, cluster.NewProgress(out), cluster.UpOptions{}); err != nil {
		return nil, err
	}
	restart, err := install.Image(ctx, layout, "aftermesh", ".")
	if err != nil {
		return nil, err
	}
	if err := install.Operator(ctx, install.Of(layout), install.Root(layout), "", restart); err != nil {
		return nil, err
	}
	return clientcmd.BuildConfigFromFlags("", layout.Kubeconfig())
}

// learn finds out what the cases are told about the cluster.
func (l *lab) learn(ctx context.Context, cfg *rest.Config) (err error) {
	l.cluster = &injection.Cluster{Warnings: &injection.Warnings{}, Version: cli.Version}
	cfg.QPS, cfg.WarningHandler = -1, l.cluster.Warnings
	if l.client, err = client.New(cfg, client.Options{Scheme: controllers.Scheme()}); err != nil {
		return err
	}
	l.cluster.Client = l.client
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return err
	}
	version, err := d.ServerVersion()
	if err != nil {
		return err
	}
	l.cluster.Kubernetes = version.GitVersion
	if l.cluster.API, err = l.addresses(ctx, "default", "kubernetes"); err != nil {
		return err
	}
	if l.cluster.Service, err = l.addresses(ctx, injection.OperatorNamespace, operatorName); err != nil {
		return err
	}
	deployment, err := l.deployment(ctx)
	if err != nil {
		return err
	}
	i, err := controller(deployment.Spec.Template.Spec)
	if err != nil {
		return err
	}
	container := deployment.Spec.Template.Spec.Containers[i]
	l.args, l.cluster.Image = container.Args, container.Image
	return nil
}

// await polls until the condition holds.
func await(ctx context.Context, what string, condition func() error) error {
	const patience, pause = 3 * time.Minute, 200 * time.Millisecond
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("gave up waiting until %s: %w", what, errors.Join(err, ctx.Err()))
		}
		time.Sleep(pause)
	}
}

// Command corpus runs cases of real manifests in the one-node cluster:
//
//	corpus --corpus DIR [--case NAME]... [-o table|json] [--list]
//
// It starts a cluster of the IP family that a case asks for, and builds and installs Aftermesh and the stand-in application itself. Exit code 1 means that some check failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/corpus"
	"github.com/aftermesh/aftermesh/test/install"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir := flag.String("corpus", "", "folder of the cases")
	format := flag.String("o", "table", "output: table or json")
	var only []string
	flag.Func("case", "run this case only; repeatable", func(s string) error { only = append(only, s); return nil })
	flag.Parse()
	if *dir == "" || (*format != "table" && *format != "json") {
		fmt.Fprintln(os.Stderr, "usage: corpus --corpus DIR [--case NAME]... [-o table|json]")
		os.Exit(2)
	}
	if err := run(ctx, *dir, only, *format); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, only []string, format string) error {
	cases, reports, err := load(dir, only)
	if err != nil {
		return err
	}
	layout, err := cluster.Find()
	if err != nil {
		return err
	}
	progress := io.Writer(os.Stdout)
	if format == "json" {
		progress = os.Stderr
	}
	for _, r := range reports {
		fmt.Fprintf(progress, "FAIL %s: %s\n", r.Case, r.Outcomes[0].Message)
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		of := slices.DeleteFunc(slices.Clone(cases), func(c *corpus.Case) bool { return c.Family() != family })
		if len(of) == 0 {
			continue
		}
		runner, err := prepare(ctx, layout, family, progress)
		if err != nil {
			return err
		}
		for _, c := range of {
			if err := ownEnvoys(layout, c, progress); err != nil {
				reports = append(reports, corpus.Failed(c.Case, err))
				continue
			}
			reports = append(reports, runner.Run(ctx, c))
			if ctx.Err() != nil {
				break
			}
		}
	}
	return print(reports, format)
}

// load reads the requested cases, or all. One that cannot be read is a failed report, and the others run.
func load(dir string, only []string) ([]*corpus.Case, []corpus.Report, error) {
	if len(only) == 0 {
		found, err := filepath.Glob(filepath.Join(dir, "*", "expect.yaml"))
		if err != nil || len(found) == 0 {
			return nil, nil, fmt.Errorf("no cases in %s: %w", dir, errors.Join(err, os.ErrNotExist))
		}
		for _, f := range found {
			only = append(only, filepath.Base(filepath.Dir(f)))
		}
	}
	var cases []*corpus.Case
	var failed []corpus.Report
	for _, name := range only {
		c, err := corpus.Load(filepath.Join(dir, name))
		if err != nil {
			failed = append(failed, corpus.Failed(name, err))
			continue
		}
		cases = append(cases, c)
	}
	return cases, failed, nil
}

// prepare makes a cluster of the family run, with Aftermesh and the stand-in application.
func prepare(ctx context.Context, l cluster.Layout, family string, out io.Writer) (*corpus.Runner, error) {
	p := cluster.NewProgress(out)
	if have := l.IPFamily(); have != "" && have != family {
		if err := l.Down(ctx, p, false); err != nil {
			return nil, err
		}
	}
	if err := l.Up(ctx, p, cluster.UpOptions{IPFamily: family}); err != nil {
		return nil, err
	}
	changed, err := install.Image(ctx, l, "aftermesh", ".")
	if err != nil {
		return nil, err
	}
	other, err := install.Image(ctx, l, "echo", "./test/echo")
	if err != nil {
		return nil, err
	}
	if other {
		// The client of an earlier run goes on with the old program until it is told; the first time there is none.
		_, _ = install.Of(l).Run(ctx, "-n", "outside", "rollout", "restart", "deployment/client")
	}
	if err := install.Operator(ctx, install.Of(l), install.Root(l), "", changed); err != nil {
		return nil, err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	return corpus.New(cfg, out)
}

// ownEnvoys loads a stock Envoy under the names that gateways of a case bring.
func ownEnvoys(l cluster.Layout, c *corpus.Case, out io.Writer) error {
	names, err := c.OwnEnvoys()
	if err != nil || len(names) == 0 {
		return err
	}
	return l.LoadEnvoy(cluster.NewProgress(out), cluster.DefaultEnvoy, names...)
}

// print writes the table or the JSON; the error says that something failed.
func print(reports []corpus.Report, format string) error {
	failed := 0
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	if format == "table" {
		fmt.Fprintln(t, "\nCASE\tPASSED\tFAILED\tSECONDS")
	}
	passed := 0
	for _, r := range reports {
		bad := len(r.Outcomes) - r.Passed()
		failed += bad
		passed += r.Passed()
		if format == "table" {
			fmt.Fprintf(t, "%s\t%d\t%d\t%.0f\n", r.Case, r.Passed(), bad, r.Seconds)
		}
	}
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(reports); err != nil {
			return err
		}
	} else if err := t.Flush(); err != nil {
		return err
	} else {
		fmt.Printf("%d passed, %d failed\n", passed, failed)
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

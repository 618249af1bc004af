// Command corpus runs cases of real manifests in the one-node cluster:
//
//	corpus --corpus DIR [--case NAME]... [-o table|json] [--list]
//
// It builds and loads the stand-in application itself. Exit code 1 means that some check failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/cluster/image"
	"github.com/aftermesh/aftermesh/test/corpus"
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
	cases, err := load(dir, only)
	if err != nil {
		return err
	}
	layout, err := cluster.Find()
	if err != nil {
		return err
	}
	if err := standIn(ctx, layout); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", layout.Kubeconfig())
	if err != nil {
		return err
	}
	progress := io.Writer(os.Stdout)
	if format == "json" {
		progress = os.Stderr
	}
	runner, err := corpus.New(cfg, progress)
	if err != nil {
		return err
	}
	var reports []corpus.Report
	for _, c := range cases {
		reports = append(reports, runner.Run(ctx, c))
		if ctx.Err() != nil {
			break
		}
	}
	return print(reports, format)
}

// load reads the cases that are asked for, or all.
func load(dir string, only []string) ([]*corpus.Case, error) {
	if len(only) == 0 {
		found, err := filepath.Glob(filepath.Join(dir, "*", "expect.yaml"))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("no cases in %s: %w", dir, errors.Join(err, os.ErrNotExist))
		}
		for _, f := range found {
			only = append(only, filepath.Base(filepath.Dir(f)))
		}
	}
	var cases []*corpus.Case
	for _, name := range only {
		c, err := corpus.Load(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// standIn builds the application and loads its image.
func standIn(ctx context.Context, layout cluster.Layout) error {
	binary := layout.Bin("echo")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./test/echo")
	cmd.Dir, cmd.Env, cmd.Stderr = filepath.Dir(layout.Cache()), append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the stand-in: %w", err)
	}
	_, err := layout.Load(image.Static(binary, "/echo", corpus.Image))
	return err
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

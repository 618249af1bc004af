package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/aftermesh/aftermesh/test/cluster"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// parse reads flags that may stand before or after the arguments, which it returns. After "--" nothing is a flag.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		ended := len(args) > fs.NArg() && args[len(args)-fs.NArg()-1] == "--"
		if fs.NArg() == 0 || ended {
			return append(rest, fs.Args()...), nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

func flags(verb string) *flag.FlagSet { return flag.NewFlagSet(verb, flag.ContinueOnError) }

func up(ctx context.Context, l cluster.Layout, args []string) error {
	fs, envoys := flags("up"), list{}
	family := fs.String("ip-family", "ipv4", "ipv4, dual or ipv6")
	fs.Var(&envoys, "envoy", "Envoy version to import (repeatable)")
	if _, err := parse(fs, args); err != nil {
		return err
	}
	return l.Up(ctx, cluster.NewProgress(os.Stdout), cluster.UpOptions{IPFamily: *family, Envoys: envoys})
}

func down(ctx context.Context, l cluster.Layout, args []string) error {
	fs := flags("down")
	force := fs.Bool("force", false, "also remove another working copy's cluster")
	if _, err := parse(fs, args); err != nil {
		return err
	}
	p := cluster.NewProgress(os.Stdout)
	if err := l.Down(ctx, p, *force); err != nil {
		return err
	}
	p.Note("nothing of a cluster is left")
	return nil
}

func status(_ context.Context, l cluster.Layout, _ []string) error { return l.Status(os.Stdout) }

func install(_ context.Context, l cluster.Layout, args []string) error {
	fs, envoys := flags("install"), list{}
	fs.Var(&envoys, "envoy", "Envoy version to fetch (repeatable)")
	if _, err := parse(fs, args); err != nil {
		return err
	}
	if len(envoys) == 0 {
		envoys = list{cluster.DefaultEnvoy}
	}
	return l.Install(cluster.NewProgress(os.Stdout), envoys...)
}

func envoy(_ context.Context, l cluster.Layout, args []string) error {
	if len(args) == 0 {
		args = []string{cluster.DefaultEnvoy}
	}
	for _, version := range args {
		if err := l.FetchEnvoy(cluster.NewProgress(os.Stderr), version); err != nil {
			return err
		}
		fmt.Println(l.Envoy(version))
	}
	return nil
}

func kubeconfig(_ context.Context, l cluster.Layout, _ []string) error {
	fmt.Println(l.Kubeconfig())
	return nil
}

func env(_ context.Context, l cluster.Layout, _ []string) error {
	fmt.Printf("export KUBECONFIG=%q\nexport PATH=%q:\"$PATH\"\n", l.Kubeconfig(), l.Cache("bin"))
	return nil
}

func apiserver(ctx context.Context, l cluster.Layout, args []string) error {
	if len(args) == 0 {
		args = []string{"list"}
	}
	switch args[0] {
	case "start":
		return apiserverStart(ctx, l, args[1:])
	case "stop":
		return apiserverStop(l, args[1:])
	case "list":
		for _, b := range l.ListBare() {
			fmt.Printf("%s\trunning=%t\t%s\n", b.ID, b.Running(), b.Kubeconfig)
		}
		return nil
	}
	return fmt.Errorf("apiserver %s: not one of start, stop, list", args[0])
}

func apiserverStart(ctx context.Context, l cluster.Layout, args []string) error {
	fs := flags("apiserver start")
	id := fs.String("id", "", "name for stop")
	more, err := parse(fs, args)
	if err != nil {
		return err
	}
	b, err := l.StartBare(ctx, cluster.BareOptions{ID: *id, Flags: more, Progress: cluster.NewProgress(os.Stderr)})
	if err != nil {
		return err
	}
	fmt.Printf("id %s\nurl %s\nkubeconfig %s\n", b.ID, b.URL, b.Kubeconfig)
	return nil
}

func apiserverStop(l cluster.Layout, args []string) error {
	fs := flags("apiserver stop")
	all := fs.Bool("all", false, "stop every one of this working copy")
	ids, err := parse(fs, args)
	if err != nil {
		return err
	}
	var errs error
	stopped := 0
	for _, b := range l.ListBare() {
		for _, id := range append(ids, map[bool]string{true: b.ID}[*all]) {
			if id == b.ID {
				errs, stopped = errors.Join(errs, b.Stop()), stopped+1
				break
			}
		}
	}
	if errs == nil && !*all && stopped < len(ids) {
		errs = fmt.Errorf("stopped %d of %d: no API server with the other ids", stopped, len(ids))
	}
	return errs
}

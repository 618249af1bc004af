// Command steady sends a steady load through the mesh of the one-node cluster while things change under it, and counts the requests
// that fail:
//
//	steady [--scenario changes]... [--requests 200000] [--rate 700] [--watch 10m] [-o table|json]
//
// The scenario changes flips weights, swaps a node in a route, edits a health check, deletes a node and creates it again, and restarts a
// backend ten times. The scenarios flagger and argo let the real controllers, built from their Go modules, take a canary to its end; then
// both go on for the time of --watch, in which no object's generation or resourceVersion may change. Exit code 1 means that a
// request failed or something did not end.
//
// Three more scenarios are about the lives of pods: rolling replaces a backend and a gateway ten times each while callers keep their
// connections, starts runs Jobs whose first act is a request, and farewell lets pods call out after their stop signal. The scenario cni installs
// the CNI plugin, runs pods that may hold no capabilities, and repairs one that was there before the plugin. The scenario forms goes through
// everything about injection that only a kubelet proves; its rows count checks in the place of requests.
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
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/install"
)

// scenarios in the order in which they run.
var scenarios = []struct {
	name string
	run  func(*stage, context.Context) error
}{{"changes", (*stage).changes}, {"flagger", (*stage).flagger}, {"argo", (*stage).argo}, {"quiet", (*stage).quiet},
	{"rolling", (*stage).rolling}, {"starts", (*stage).starts}, {"farewell", (*stage).farewell}, {"cni", (*stage).cni},
	{"forms", (*stage).forms}}

const names = "changes, flagger, argo, quiet, rolling, starts, farewell, cni, forms"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := &stage{}
	var only []string
	flag.Func("scenario", names+"; repeatable; default is all", func(v string) error { only = append(only, v); return nil })
	flag.IntVar(&s.requests, "requests", 200_000, "requests of the scenario changes")
	flag.Float64Var(&s.rate, "rate", 700, "requests per second of the scenario changes; the others send a third")
	flag.DurationVar(&s.watch, "watch", 10*time.Minute, "how long the scenario quiet looks on")
	format := flag.String("o", "table", "output: table or json")
	flag.Parse()
	if err := s.all(ctx, only, *format); err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(1)
	}
}

// stage is where the scenarios play.
type stage struct {
	requests int
	rate     float64
	watch    time.Duration

	layout  cluster.Layout
	kubectl install.Kubectl
	out     io.Writer
	began   time.Time
	loads   []*load
	rows    []row
	running []func()
}

// row is one line of the report.
type row struct {
	Scenario string         `json:"scenario"`
	What     string         `json:"what"`
	Seconds  float64        `json:"seconds"`
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Failures map[string]int `json:"failures,omitempty"`
	Error    string         `json:"error,omitempty"`
}

func (s *stage) all(ctx context.Context, only []string, format string) error {
	for _, name := range only {
		if !slices.ContainsFunc(scenarios, func(x struct {
			name string
			run  func(*stage, context.Context) error
		}) bool {
			return x.name == name
		}) {
			return fmt.Errorf("no scenario %q; there are %s", name, names)
		}
	}
	s.out, s.began = io.Writer(os.Stdout), time.Now()
	if format == "json" {
		s.out = os.Stderr
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer s.end()
	for _, sc := range scenarios {
		if len(only) > 0 && !slices.Contains(only, sc.name) {
			continue
		}
		s.say("scenario %s", sc.name)
		start := time.Now()
		if err := sc.run(s, ctx); err != nil {
			s.rows = append(s.rows, row{Scenario: sc.name, What: "it did not end", Seconds: time.Since(start).Seconds(), Error: err.Error()})
		}
	}
	return s.report(format)
}

// prepare starts the cluster, installs Aftermesh and loads the application.
func (s *stage) prepare(ctx context.Context) error {
	l, err := cluster.Find()
	if err != nil {
		return err
	}
	s.layout = l
	if err := l.Up(ctx, cluster.NewProgress(s.out), cluster.UpOptions{}); err != nil {
		return err
	}
	s.kubectl = install.Of(l)
	restart, err := install.Image(ctx, l, "aftermesh", ".")
	if err != nil {
		return err
	}
	if _, err := install.Image(ctx, l, "echo", "./test/echo"); err != nil {
		return err
	}
	if err := install.Operator(ctx, s.kubectl, install.Root(l), "", restart); err != nil {
		return err
	}
	s.say("Aftermesh is installed")
	return nil
}

// end stops what was started, the last first.
func (s *stage) end() {
	for _, stop := range slices.Backward(s.running) {
		stop()
	}
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "[%4.0fs] "+format+"\n", append([]any{time.Since(s.began).Seconds()}, args...)...)
}

// step does something under the load and counts the requests meanwhile.
func (s *stage) step(ctx context.Context, scenario, what string, do func() error) error {
	before, err := s.states(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	failed := do()
	after, err := s.states(ctx)
	if err := errors.Join(failed, err); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	r := row{Scenario: scenario, What: what, Seconds: time.Since(start).Seconds(), Failures: map[string]int{}}
	for i := range after {
		r.Requests += after[i].Requests - before[i].Requests
		for what, n := range failures(before[i], after[i]) {
			r.Failures[what] += n
			r.Failed += n
		}
	}
	s.rows = append(s.rows, r)
	s.say("%-58s %7d requests, %d failed", what, r.Requests, r.Failed)
	return nil
}

func (s *stage) report(format string) error {
	bad := 0
	for _, r := range s.rows {
		if r.Failed > 0 || r.Error != "" {
			bad++
		}
	}
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(s.rows); err != nil {
			return err
		}
	} else if err := s.table(); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d steps lost requests or did not end", bad, len(s.rows))
	}
	return nil
}

func (s *stage) table() error {
	w := tabwriter.NewWriter(s.out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "\nSCENARIO\tSTEP\tSECONDS\tREQUESTS\tFAILED\t")
	requests, failed := 0, 0
	for _, r := range s.rows {
		requests, failed = requests+r.Requests, failed+r.Failed
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%d\t%d\t%s\n", r.Scenario, r.What, r.Seconds, r.Requests, r.Failed, strings.TrimSpace(r.Error+" "+text(r.Failures)))
	}
	fmt.Fprintf(w, "\t\t\t%d\t%d\t\n", requests, failed)
	return w.Flush()
}

func text(failures map[string]int) string {
	if len(failures) == 0 {
		return ""
	}
	return fmt.Sprint(failures)
}

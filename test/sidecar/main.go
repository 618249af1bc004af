// Command sidecar measures what a proxy costs a pod, in the one-node cluster:
//
//	sidecar [--only webhook|start|memory]... [-o table|json]
//
//	webhook   latency of the injection, counted by the API server, at 20 pods per second (creations that are only tried)
//	start     time from creation to Ready, against pods with as many empty containers
//	memory    private memory (RssAnon) of a sidecar with ten backends in a mesh of ten and of a thousand services, against a stock Envoy
//	          without any configuration
//
// Exit code 1 means that a figure misses its bar.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/install"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l := &lab{out: os.Stdout, began: time.Now()}
	var only []string
	flag.Func("only", "webhook, start or memory; repeatable; default is all", func(v string) error { only = append(only, v); return nil })
	format := flag.String("o", "table", "output: table or json")
	flag.Parse()
	if *format == "json" {
		l.out = os.Stderr
	}
	missed, err := l.run(ctx, only, *format)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(2)
	}
	if missed {
		os.Exit(1)
	}
}

// lab is the cluster that is measured.
type lab struct {
	out     io.Writer
	began   time.Time
	layout  cluster.Layout
	kubectl install.Kubectl
	client  *kubernetes.Clientset
	figures []figure
}

// figure is one line of the result. Bar is the most that Value may be; NaN where there is none.
type figure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bar   float64 `json:"bar,omitempty"`
}

func (f figure) missed() bool { return f.Bar != 0 && !(f.Value <= f.Bar) }

func (l *lab) run(ctx context.Context, only []string, format string) (missed bool, err error) {
	if err := l.prepare(ctx); err != nil {
		return false, err
	}
	for _, m := range []struct {
		name string
		do   func(context.Context) error
	}{{"webhook", l.webhook}, {"start", l.start}, {"memory", l.memory}} {
		if len(only) > 0 && !slices.Contains(only, m.name) {
			continue
		}
		l.say("measuring %s", m.name)
		if err := m.do(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	for _, f := range l.figures {
		missed = missed || f.missed()
	}
	return missed, l.report(format)
}

// prepare starts the cluster and installs Aftermesh.
func (l *lab) prepare(ctx context.Context) error {
	layout, err := cluster.Find()
	if err != nil {
		return err
	}
	l.layout = layout
	if err := layout.Up(ctx, cluster.NewProgress(l.out), cluster.UpOptions{}); err != nil {
		return err
	}
	l.kubectl = install.Of(layout)
	restart, err := install.Image(ctx, layout, "aftermesh", ".")
	if err != nil {
		return err
	}
	if _, err := install.Image(ctx, layout, "echo", "./test/echo"); err != nil {
		return err
	}
	if err := install.Operator(ctx, l.kubectl, install.Root(layout), "", restart); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", layout.Kubeconfig())
	if err != nil {
		return err
	}
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{} // about the grace period of pods that are deleted at once
	l.client, err = kubernetes.NewForConfig(cfg)
	return err
}

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.out, "[%4.0fs] "+format+"\n", append([]any{time.Since(l.began).Seconds()}, args...)...)
}

func (l *lab) figure(what string, value float64, unit string, bar float64) {
	l.figures = append(l.figures, figure{what, value, unit, bar})
}

func (l *lab) report(format string) error {
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(l.figures)
	}
	w := tabwriter.NewWriter(l.out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tVALUE\tBAR\t")
	for _, f := range l.figures {
		bar, verdict := "", ""
		if f.Bar != 0 {
			bar, verdict = fmt.Sprintf("%.4g %s", f.Bar, f.Unit), map[bool]string{true: "missed", false: "met"}[f.missed()]
		}
		fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\n", f.What, f.Value, f.Unit, bar, verdict)
	}
	return w.Flush()
}

// quantile of values that need not be sorted, by rank.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

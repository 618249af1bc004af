package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/aftermesh/aftermesh/test/fleet"
)

// settings are the size of the bench.
type settings struct {
	fleet.Size
	changes int
	format  string
}

func main() {
	var s settings
	flag.IntVar(&s.Services, "services", 300, "virtual services, each with a router, a node and its pods")
	flag.IntVar(&s.Replicas, "replicas", 2, "pods, and so streams, of each node")
	flag.IntVar(&s.Backends, "backends", 10, "services that each node calls")
	flag.IntVar(&s.changes, "changes", 150, "route changes that are measured")
	flag.StringVar(&s.format, "o", "table", "table or json")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	const limit = 10 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The clients share the machine with what they measure: they collect garbage rarely, so that a collection of theirs is not taken
	// for a delay of the operator's.
	const rarely = 800
	debug.SetGCPercent(rarely)
	missed, err := run(ctx, s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if missed {
		os.Exit(1)
	}
}

// figure is one line of the result.
type figure struct {
	What string  `json:"what"`
	N    int     `json:"n,omitempty"`
	P50  float64 `json:"p50,omitempty"`
	P99  float64 `json:"p99,omitempty"`
	Max  float64 `json:"max,omitempty"`
	// Value is set instead of the quantiles where there is only one.
	Value float64 `json:"value,omitempty"`
	Unit  string  `json:"unit"`
	// Bar is what the judged figure (P99, or Value) may be at most; 0 for none.
	Bar    float64 `json:"bar,omitempty"`
	Missed bool    `json:"missed,omitempty"`
}

func single(what string, value float64, unit string, bar float64) figure {
	return figure{What: what, Value: value, Unit: unit, Bar: bar, Missed: bar > 0 && value > bar}
}

// quantiles summarises durations in milliseconds.
func quantiles(what string, list []time.Duration, bar float64) figure {
	if len(list) == 0 {
		return figure{What: what, Unit: "ms", Bar: bar, Missed: true}
	}
	list = slices.Clone(list)
	slices.Sort(list)
	at := func(q float64) float64 {
		i := min(int(q*float64(len(list))), len(list)-1)
		return float64(list[i].Microseconds()) / 1000
	}
	f := figure{What: what, N: len(list), P50: at(0.5), P99: at(0.99), Max: at(1), Unit: "ms", Bar: bar}
	f.Missed = bar > 0 && f.P99 > bar
	return f
}

func show(s settings, list []figure) error {
	if s.format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{
			"services": s.Services, "streams": s.Services * s.Replicas, "backends": s.Backends, "cpus": runtime.NumCPU(), "figures": list,
		})
	}
	fmt.Printf("%d services, %d streams, %d backends per node, %d CPUs; webhooks left out\n\n", s.Services, s.Services*s.Replicas, s.Backends, runtime.NumCPU())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tn\tp50\tp99\tmax\tvalue\tunit\tbar\t")
	for _, f := range list {
		number := func(v float64) string {
			if v == 0 {
				return "-"
			}
			return fmt.Sprintf("%.1f", v)
		}
		verdict := ""
		if f.Bar > 0 {
			verdict = "ok"
		}
		if f.Missed {
			verdict = "MISSED"
		}
		n, value := "-", fmt.Sprintf("%.1f", f.Value)
		if f.N > 0 {
			n, value = fmt.Sprint(f.N), "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.What, n, number(f.P50), number(f.P99), number(f.Max), value, f.Unit, number(f.Bar), verdict)
	}
	return w.Flush()
}

// step tells on the terminal what takes time.
func step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05")+" "+format+"\n", args...)
}

// run does everything; it is true when a bar was missed.
func run(ctx context.Context, s settings) (missed bool, err error) {
	if s.Backends >= s.Services {
		return false, errors.New("-backends must be less than -services")
	}
	step("building the operator")
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := fleet.Build(ctx, dir)
	if err != nil {
		return false, err
	}
	f, err := fleet.New(ctx, s.Size, binary, step)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	o, err := f.NewOperator("127.0.0.1", false)
	if err != nil {
		return false, err
	}
	b := &bench{settings: s, fleet: f, operator: o}
	list, err := b.measure(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(f figure) bool { return f.Missed }), show(s, list)
}

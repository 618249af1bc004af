package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/test/fleet"
)

// Bars of the project.
const (
	receiptBar = 50.0  // ms, p99
	streamBar  = 200.0 // kB
)

// settle is how long the operator is left alone before it is looked at.
const settle = 3 * time.Second

// bench is what is measured.
type bench struct {
	settings
	fleet    *fleet.Fleet
	operator *fleet.Operator
}

func (b *bench) measure(ctx context.Context) ([]figure, error) {
	step("starting the operator")
	begin := time.Now()
	if err := b.operator.Start(ctx); err != nil {
		return nil, err
	}
	list := []figure{single("operator: start to first stream accepted", time.Since(begin).Seconds(), "s", 0)}
	for _, part := range []func(context.Context) ([]figure, error){b.streamCost, b.routeChanges, b.endpointChanges, b.comeBack} {
		more, err := part(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// streamCost measures the memory before and after all streams are there.
func (b *bench) streamCost(ctx context.Context) ([]figure, error) {
	time.Sleep(settle)
	rss, anon, err := b.operator.Memory()
	if err != nil {
		return nil, err
	}
	heap, err := b.operator.Gauge("go_memstats_heap_inuse_bytes")
	if err != nil {
		return nil, err
	}
	step("connecting %d streams", len(b.fleet.Pods))
	begin := time.Now()
	if err := b.fleet.Connect(ctx, func(int) *fleet.Operator { return b.operator }); err != nil {
		return nil, err
	}
	resources, err := b.fleet.InStep(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	time.Sleep(settle)
	rssAfter, anonAfter, err := b.operator.Memory()
	if err != nil {
		return nil, err
	}
	heapAfter, err := b.operator.Gauge("go_memstats_heap_inuse_bytes")
	if err != nil {
		return nil, err
	}
	const kB, MB = 1000.0, 1e6
	n := float64(len(b.fleet.Pods))
	return []figure{
		single("all streams: connect to in step", took.Seconds(), "s", 0),
		single("resources per stream", float64(resources)/n, "", 0),
		single("memory: RSS before streams", float64(rss)/MB, "MB", 0),
		single("memory: RSS with all streams", float64(rssAfter)/MB, "MB", 0),
		single("memory: RSS per stream", float64(rssAfter-rss)/n/kB, "kB", streamBar),
		single("memory: RssAnon per stream", float64(anonAfter-anon)/n/kB, "kB", streamBar),
		single("memory: heap in use per stream", (heapAfter-heap)/n/kB, "kB", 0),
	}, nil
}

// routeChanges measures one weight at a time, each of another service.
func (b *bench) routeChanges(ctx context.Context) ([]figure, error) {
	step("changing %d routes", b.changes)
	before, err := b.operator.CPU()
	if err != nil {
		return nil, err
	}
	var every, last []time.Duration
	for i := range b.changes {
		service, weight := i*7%b.Services, 20+i%60
		got, err := b.fleet.ChangeRoute(ctx, service, weight)
		if err != nil {
			return nil, fmt.Errorf("route of service %d: %w", service, err)
		}
		every = append(every, got...)
		last = append(last, longest(got))
		time.Sleep(pauseBetween)
	}
	time.Sleep(time.Second) // statuses are part of the cost
	after, err := b.operator.CPU()
	if err != nil {
		return nil, err
	}
	compile, translate, pass, err := b.passes()
	if err != nil {
		return nil, err
	}
	return []figure{
		single("machine: load average of the last minute", loadAverage(), "", 0),
		single("operator: mean pass", pass, "ms", 0),
		single("operator: mean pass, compile", compile, "ms", 0),
		single("operator: mean pass, translate", translate, "ms", 0),
		quantiles("route change: API answer to receipt, every stream", every, receiptBar),
		quantiles("route change: API answer to receipt by the last stream", last, receiptBar),
		single("route change: CPU of the operator", float64((after-before).Microseconds())/1000/float64(b.changes), "ms", 0),
	}, nil
}

// passes returns how long the stages of a pass took on average so far, in milliseconds.
func (b *bench) passes() (compile, translate, pass float64, err error) {
	for stage, out := range map[string]*float64{"compile": &compile, "translate": &translate, "pass": &pass} {
		sum, err := b.operator.Gauge(fmt.Sprintf("aftermesh_pass_seconds_sum{stage=%q}", stage))
		if err != nil {
			return 0, 0, 0, err
		}
		count, err := b.operator.Gauge(fmt.Sprintf("aftermesh_pass_seconds_count{stage=%q}", stage))
		if err != nil {
			return 0, 0, 0, err
		}
		const ms = 1000
		*out = sum / count * ms
	}
	return compile, translate, pass, nil
}

// pauseBetween keeps changes apart, so that each one meets an operator that rests.
const pauseBetween = 60 * time.Millisecond

// endpointChanges takes one pod out and puts it back, again and again.
func (b *bench) endpointChanges(ctx context.Context) ([]figure, error) {
	n := b.changes / 2
	step("taking %d pods out and back", n/2)
	var last []time.Duration
	for i := range n {
		node := i / 2 * 11 % b.Services
		got, err := b.fleet.ChangeEndpoint(ctx, node, i%2 == 1)
		if err != nil {
			return nil, fmt.Errorf("endpoints of node %d: %w", node, err)
		}
		last = append(last, longest(got))
		time.Sleep(pauseBetween)
	}
	return []figure{quantiles("endpoint change: API answer to receipt by the last stream", last, receiptBar)}, nil
}

// comeBack kills the operator and waits until a new one has every proxy in step.
func (b *bench) comeBack(ctx context.Context) ([]figure, error) {
	step("killing the operator")
	begin := time.Now()
	b.operator.Kill()
	if err := b.operator.Start(ctx); err != nil {
		return nil, err
	}
	served := time.Since(begin)
	resources, err := b.fleet.InStep(ctx)
	if err != nil {
		return nil, err
	}
	return []figure{
		single("kill -9: until the new operator accepts streams", served.Seconds(), "s", 0),
		single("kill -9: until all proxies are in step", time.Since(begin).Seconds(), "s", 0),
		{What: "kill -9: resources sent again", Value: float64(resources), Missed: resources > 0},
	}, nil
}

func longest(list []time.Duration) time.Duration {
	var out time.Duration
	for _, d := range list {
		out = max(out, d)
	}
	return out
}

// loadAverage tells whether the machine does anything else.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
	return n
}

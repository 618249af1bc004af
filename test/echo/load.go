package main

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

const (
	// defaultRate of a load, in requests per second.
	defaultRate = 100
	// keptSeconds bounds the figures per second of a load without an end.
	keptSeconds = 600
)

// load sends requests at a rate; it is safe for concurrent use.
type load struct {
	// send makes one request.
	send func(context.Context, order.HTTP) order.Group

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
	began  time.Time
	total  order.Counts
	marked order.Counts
	per    []order.Second
	first  int // the second that per begins with
}

// start begins the load; one that runs is an error. It outlives the request that starts it.
func (l *load) start(o order.Load) order.LoadState {
	l.mu.Lock()
	if l.done != nil && !closed(l.done) {
		l.mu.Unlock()
		return order.LoadState{Running: true, Error: "a load is running already"}
	}
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.done, l.began = cancel, make(chan struct{}), time.Now()
	l.total, l.marked, l.per, l.first = newCounts(), newCounts(), nil, 0
	done := l.done
	l.mu.Unlock()
	go func() {
		defer close(done)
		defer cancel()
		l.run(ctx, o)
	}()
	return l.state()
}

// run sends until the order is done or ctx ends, and waits for the answers.
func (l *load) run(ctx context.Context, o order.Load) {
	var wg sync.WaitGroup
	defer wg.Wait()
	all := int(o.Rate*o.Seconds + 0.5)
	if o.Concurrency <= 0 {
		l.rounds(ctx, o, all, 1, func() { wg.Go(func() { l.one(ctx, o.HTTP) }) })
		return
	}
	for lane := range o.Concurrency {
		share := all / o.Concurrency
		if lane < all%o.Concurrency {
			share++
		}
		if o.Seconds > 0 && share == 0 {
			continue
		}
		wg.Go(func() { l.rounds(ctx, o, share, o.Concurrency, func() { l.one(ctx, o.HTTP) }) })
	}
}

// rounds calls send count times (without end if the order has none), each lanes/rate seconds after the one before.
func (l *load) rounds(ctx context.Context, o order.Load, count, lanes int, send func()) {
	period := time.Duration(float64(lanes) / o.Rate * float64(time.Second))
	for i := 0; o.Seconds <= 0 || i < count; i++ {
		select {
		case <-time.After(time.Until(l.began.Add(time.Duration(i) * period))):
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return
		}
		send()
	}
}

// one sends one request and counts what came of it. A request that a stop cut off is not counted.
func (l *load) one(ctx context.Context, o order.HTTP) {
	g := l.send(ctx, o)
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range []*order.Counts{&l.total, &l.marked} {
		c.Requests++
		if g.Error != "" {
			c.Errors[g.Error]++
			continue
		}
		c.Statuses[strconv.Itoa(g.Status)]++
		c.Identities[g.Chain[strings.LastIndex(g.Chain, ",")+1:]]++
		c.Pods[g.Pod]++
	}
	l.second(g.Error != "" || g.Status >= 400)
}

// second counts an answer into its second.
func (l *load) second(failed bool) {
	at := int(time.Since(l.began) / time.Second)
	for at >= l.first+len(l.per) {
		l.per = append(l.per, order.Second{})
	}
	if over := len(l.per) - keptSeconds; over > 0 {
		l.per, l.first = l.per[over:], l.first+over
	}
	s := &l.per[at-l.first]
	s.Requests++
	if failed {
		s.Failed++
	}
}

// mark restarts the second set of counts and returns what it was.
func (l *load) mark() order.LoadState {
	state := l.state()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marked = newCounts()
	return state
}

// stop ends the load and returns what came of it.
func (l *load) stop() order.LoadState {
	l.mu.Lock()
	cancel, done := l.cancel, l.done
	l.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
	return l.state()
}

// state is what came of the load so far.
func (l *load) state() order.LoadState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return order.LoadState{
		Running: l.done != nil && !closed(l.done),
		Total:   cloneCounts(l.total), Marked: cloneCounts(l.marked), PerSecond: append([]order.Second(nil), l.per...),
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func newCounts() order.Counts {
	return order.Counts{Statuses: map[string]int{}, Identities: map[string]int{}, Pods: map[string]int{}, Errors: map[string]int{}}
}

func cloneCounts(c order.Counts) order.Counts {
	return order.Counts{
		Requests: c.Requests, Statuses: maps.Clone(c.Statuses), Identities: maps.Clone(c.Identities),
		Pods: maps.Clone(c.Pods), Errors: maps.Clone(c.Errors),
	}
}

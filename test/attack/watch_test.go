package attack

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// bar is the longest that a route change may take to another proxy. Where tests share the machine with others only a standstill is told
// from a busy moment; the bar of the project is measured with -bar 100ms.
var bar = flag.Duration("bar", 2*time.Second, "how long a route change may take to reach another proxy")

// each is how long an attack goes on. The bar of the project is measured with -each 60s.
var each = flag.Duration("each", 3*time.Second, "how long each attack goes on")

const (
	// residentBar is the most memory that the operator may have.
	residentBar = 600 << 20
	// changePause keeps changes apart, samplePause looks at the memory.
	changePause = 50 * time.Millisecond
	samplePause = 20 * time.Millisecond
)

// Report is what the honest proxies and the operator's memory were like while something went on.
type Report struct {
	Changes  int
	P50, Max time.Duration
	Resident int64
	// Err says why a change did not arrive, Dead that the operator ended.
	Err  error
	Dead bool
}

// String is one line of figures.
func (r Report) String() string {
	return fmt.Sprintf("%d route changes, p50 %v, max %v; RSS at most %d MB", r.Changes, r.P50.Round(100*time.Microsecond), r.Max.Round(100*time.Microsecond), r.Resident>>20)
}

// watch changes routes of the honest mesh and samples the operator's memory until the returned function is called.
func (w *World) watch(ctx context.Context) (stop func() Report) {
	ctx, cancel := context.WithCancel(ctx)
	var r Report
	var all []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		for ; ctx.Err() == nil; w.changes++ {
			// Without the test's context, so that a change under way ends before the watch does.
			got, err := w.Fleet.ChangeRoute(context.WithoutCancel(ctx), w.changes%size.Services, 20+(w.changes/size.Services)%60)
			if err != nil {
				r.Err = err
				return
			}
			all = append(all, got...)
			r.Changes++
			select {
			case <-ctx.Done():
			case <-time.After(changePause):
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			rss, _, err := w.Operator.Memory()
			if err != nil {
				return
			}
			r.Resident = max(r.Resident, rss)
			select {
			case <-w.Operator.Exited():
				r.Dead = true
				return
			case <-ctx.Done():
			case <-time.After(samplePause):
			}
		}
	})
	return func() Report {
		cancel()
		wg.Wait()
		select {
		case <-w.Operator.Exited():
			r.Dead = true
		default:
		}
		slices.Sort(all)
		if len(all) > 0 {
			r.P50, r.Max = all[len(all)/2], all[len(all)-1]
		}
		return r
	}
}

// under runs an attack for the time of each and judges how the honest mesh fared meanwhile: the operator lives, its memory stays below the
// bar, and every route change arrives in time.
func (w *World) under(t *testing.T, attack string, tokens ...string) Report {
	t.Helper()
	stop := w.watch(t.Context())
	if attack == "" {
		time.Sleep(*each)
	} else {
		w.attack(t, attack, tokens)
	}
	r := stop()
	t.Log(r)
	switch {
	case r.Dead:
		t.Error("the operator ended")
	case r.Err != nil:
		t.Errorf("a route change did not arrive: %v", r.Err)
	case r.Changes == 0:
		t.Error("no route was changed meanwhile")
	}
	if r.Resident > residentBar {
		t.Errorf("the operator took %d MB of memory, at most %d MB are promised", r.Resident>>20, residentBar>>20)
	}
	if r.Max > *bar {
		t.Errorf("a route change took %v to arrive, at most %v are promised", r.Max, *bar)
	}
	return r
}

package guard

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates bounds how often each source may do something that has no connection, such as sending a packet. The zero value allows nothing.
type Rates struct {
	// PerSecond is the rate of one source, Burst how often at once.
	PerSecond float64
	Burst     int

	mu       sync.Mutex
	limiters map[netip.Addr]*rate.Limiter
	others   *rate.Limiter
	swept    time.Time
}

// Allow is false when a source does it too often.
func (r *Rates) Allow(from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limiter(sourceOf(from), now).AllowN(now, 1)
}

// limiter returns that of a source. When there are too many sources new ones share one, so that forged addresses take no memory.
func (r *Rates) limiter(from netip.Addr, now time.Time) *rate.Limiter {
	const many = 4096
	if l := r.limiters[from]; l != nil {
		return l
	}
	if r.limiters == nil {
		r.limiters, r.others = map[netip.Addr]*rate.Limiter{}, r.newLimiter()
	}
	if len(r.limiters) >= many && now.Sub(r.swept) >= time.Second {
		r.swept = now
		maps.DeleteFunc(r.limiters, func(_ netip.Addr, l *rate.Limiter) bool { return full(l, now) })
	}
	if len(r.limiters) >= many {
		return r.others
	}
	l := r.newLimiter()
	r.limiters[from] = l
	return l
}

func (r *Rates) newLimiter() *rate.Limiter { return rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst) }

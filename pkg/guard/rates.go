package guard

import (
	"net/netip"
	"sync"
	"time"
)

// Rates bounds how often each source may do something that has no connection, such as sending a packet. The zero value allows nothing.
type Rates struct {
	// PerSecond is the rate of one source, Burst how often at once.
	PerSecond float64
	Burst     int

	mu      sync.Mutex
	buckets map[netip.Addr]*bucket
	others  *bucket
	swept   time.Time
}

// Allow is false when a source does it too often.
func (r *Rates) Allow(from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bucket(sourceOf(from), now).take(now)
}

// bucket returns that of a source. When there are too many sources new ones share one, so that forged addresses take no memory.
func (r *Rates) bucket(from netip.Addr, now time.Time) *bucket {
	const many = 4096
	if b := r.buckets[from]; b != nil {
		return b
	}
	if r.buckets == nil {
		r.buckets, r.others = map[netip.Addr]*bucket{}, newBucket(r.PerSecond, r.Burst, now)
	}
	if len(r.buckets) >= many && now.Sub(r.swept) >= time.Second {
		r.swept = now
		for source, b := range r.buckets {
			if b.full(now) {
				delete(r.buckets, source)
			}
		}
	}
	if len(r.buckets) >= many {
		return r.others
	}
	b := newBucket(r.PerSecond, r.Burst, now)
	r.buckets[from] = b
	return b
}

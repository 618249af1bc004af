package xds

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Proxy is who is at the other end of a stream, as authenticated.
type Proxy struct {
	// ID is the pod's UID; in standalone mode the node id.
	ID              string
	Namespace, Name string
	// Claimed is what Envoy calls itself; it decides nothing.
	Claimed string
	// Expires is when the credential ends; zero if never.
	Expires time.Time
}

// Cache holds the last snapshot and the table of streams. It is safe for concurrent use.
type Cache struct {
	last    atomic.Pointer[Snapshot]
	changed <-chan struct{}

	mu      sync.Mutex
	streams map[*stream]struct{}
	// count is how many streams a proxy has.
	count map[string]int
	// watching has its own lock, because signals are given with other locks held.
	watching sync.Mutex
	watchers map[chan struct{}]struct{}
	// refused remembers the proxies whose last stream ended with a NACK of some type unresolved: what they then report to
	// have is not reliable.
	refused map[string]map[string]bool
	// began is when the first snapshot was published.
	began time.Time
}

// NewCache returns a cache that answers nobody until the first Publish.
func NewCache() *Cache {
	c := &Cache{streams: map[*stream]struct{}{}, count: map[string]int{}, refused: map[string]map[string]bool{}, watchers: map[chan struct{}]struct{}{}}
	c.changed, _ = c.Watch()
	return c
}

// Publish makes s what is served. Streams whose set is the same pointer as before are not woken.
func (c *Cache) Publish(s *Snapshot) {
	first := c.last.Swap(s) == nil
	c.mu.Lock()
	if first {
		c.began = time.Now()
	}
	for proxy := range c.refused {
		if _, ok := s.GroupOf(proxy); !ok {
			delete(c.refused, proxy) // its pod is gone and will not come back
		}
	}
	streams := make([]*stream, 0, len(c.streams))
	for st := range c.streams {
		streams = append(streams, st)
	}
	c.mu.Unlock()
	for _, st := range streams {
		st.refresh()
	}
}

// age is how long ago the first snapshot was published, 0 if there is none.
func (c *Cache) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began.IsZero() {
		return 0
	}
	return time.Since(c.began)
}

// Disconnect ends the streams of a proxy without blame, because its pod is gone and its credential with it. Whoever still holds
// that is refused by the Authenticator when it comes back.
func (c *Cache) Disconnect(proxy string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for st := range c.streams {
		if st.proxy.ID == proxy {
			st.stop(errEnded)
		}
	}
}

// Watch returns a channel of its own that receives like Changed, until stop is called.
func (c *Cache) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	c.watching.Lock()
	defer c.watching.Unlock()
	c.watchers[ch] = struct{}{}
	return ch, func() {
		c.watching.Lock()
		defer c.watching.Unlock()
		delete(c.watchers, ch)
	}
}

// Changed receives when some row of the table changed; several changes may be told at once. It has one reader, others use Watch.
func (c *Cache) Changed() <-chan struct{} { return c.changed }

func (c *Cache) signal() {
	c.watching.Lock()
	defer c.watching.Unlock()
	for ch := range c.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Streams returns the table of streams, in no particular order.
func (c *Cache) Streams() []StreamState {
	c.mu.Lock()
	streams := make([]*stream, 0, len(c.streams))
	for st := range c.streams {
		streams = append(streams, st)
	}
	c.mu.Unlock()
	out := make([]StreamState, len(streams))
	for i, st := range streams {
		out[i] = st.state()
	}
	return out
}

// add enters a stream into the table, unless its proxy has most already; 0 is no bound.
func (c *Cache) add(s *stream, most int) error {
	c.mu.Lock()
	if most > 0 && c.count[s.proxy.ID] >= most {
		c.mu.Unlock()
		return status.Errorf(codes.ResourceExhausted, "proxy %s has %d streams already", s.proxy.ID, most)
	}
	c.count[s.proxy.ID]++
	c.streams[s] = struct{}{}
	s.distrusted = c.refused[s.proxy.ID]
	delete(c.refused, s.proxy.ID)
	c.mu.Unlock()
	c.signal()
	return nil
}

func (c *Cache) remove(s *stream) {
	bad := s.unreliable()
	c.mu.Lock()
	delete(c.streams, s)
	if c.count[s.proxy.ID]--; c.count[s.proxy.ID] == 0 {
		delete(c.count, s.proxy.ID)
	}
	if len(bad) > 0 {
		c.refused[s.proxy.ID] = bad
	}
	c.mu.Unlock()
	c.signal()
}

// StreamState is one row of the table of streams.
type StreamState struct {
	Proxy Proxy
	// Group is empty while the proxy has none.
	Group     string
	Connected time.Time
	// SetVersion is the content that should be there, AckedSet the newest content of which everything is acknowledged.
	SetVersion, AckedSet string
	// Refused are the resources that Envoy refuses now.
	Refused []Refusal
	// Held are listeners and routes that wait for clusters.
	Held int
	// NACKs counts refusals since the stream began.
	NACKs int
}

// MaxText bounds what is kept of a proxy's words, in bytes.
const MaxText = 1 << 10

// Refusal is a resource that Envoy refused, in its own words.
type Refusal struct {
	Type, Name, Version, Message string
}

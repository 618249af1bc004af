package guard

import "time"

const (
	// creditPause is how often a client gives its source the cost of a connection back: a proxy connects once after a restart, not
	// again and again.
	creditPause = 10 * time.Second
	// remembered is how long a source profits from a client that is not connected any more.
	remembered = 5 * time.Minute
)

// source is where connections come from.
type source struct {
	unproven int
	bucket   *bucket // nil for no limit
	// clients are those that have proven who they are, by name. Many behind one address (an egress gateway, the host network) are one source.
	clients map[string]*client
	pruned  time.Time
}

type client struct {
	streams int
	// left is when the last stream ended, credited when the client last gave back the cost of its connection.
	left, credited time.Time
}

// room is how many connections without a known client the source may have: more with each known client, within limits.
func (s *source) room(l Limits) int {
	if l.PerSource == 0 {
		return 0
	}
	return max(l.PerSource, min(l.PerSource+len(s.clients), l.PerKnownSource))
}

// prove counts a stream of a known client. A connection that turns out to be one's own costs the source nothing, but only once in creditPause
// for each client, so that one credential allows no more connections than its source has anyway.
func (s *source) prove(name string, now time.Time) {
	c := s.clients[name]
	if c == nil {
		if s.clients == nil {
			s.clients = map[string]*client{}
		}
		c = &client{}
		s.clients[name] = c
	}
	c.streams++
	if s.bucket != nil && now.Sub(c.credited) >= creditPause {
		c.credited = now
		s.bucket.giveBack()
	}
}

// unprove ends a stream of a known client.
func (s *source) unprove(name string, now time.Time) {
	if c := s.clients[name]; c != nil {
		c.streams--
		c.left = now
	}
}

// forget drops the clients that left long ago. It looks at most once in creditPause.
func (s *source) forget(now time.Time) {
	if now.Sub(s.pruned) < creditPause {
		return
	}
	s.pruned = now
	for name, c := range s.clients {
		if c.streams == 0 && now.Sub(c.left) > remembered {
			delete(s.clients, name)
		}
	}
}

// idle is true when there is nothing to remember.
func (s *source) idle(now time.Time) bool {
	s.forget(now)
	return s.unproven == 0 && len(s.clients) == 0 && (s.bucket == nil || s.bucket.full(now))
}

// bucket allows events at a rate.
type bucket struct {
	perSecond, most, tokens float64
	at                      time.Time
}

func newBucket(perSecond float64, most int, now time.Time) *bucket {
	return &bucket{perSecond: perSecond, most: float64(most), tokens: float64(most), at: now}
}

func (b *bucket) fill(now time.Time) {
	b.tokens = min(b.most, b.tokens+b.perSecond*now.Sub(b.at).Seconds())
	b.at = now
}

func (b *bucket) take(now time.Time) bool {
	b.fill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) giveBack() { b.tokens = min(b.most, b.tokens+1) }

func (b *bucket) full(now time.Time) bool {
	b.fill(now)
	return b.tokens >= b.most
}

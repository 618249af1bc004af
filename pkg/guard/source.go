package guard

import (
	"time"

	"golang.org/x/time/rate"
)

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
	rate     *rate.Limiter // nil for no limit
	// credits are connections that were given back; with the tokens of rate they are never more than its burst.
	credits int
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
	if s.rate != nil && now.Sub(c.credited) >= creditPause {
		c.credited = now
		s.credits++
	}
}

// connect counts a new connection; it is false when they come too fast.
func (s *source) connect(now time.Time) bool {
	if s.rate == nil {
		return true
	}
	s.credits = min(s.credits, s.rate.Burst()-int(s.rate.TokensAt(now)))
	if s.rate.AllowN(now, 1) {
		return true
	}
	if s.credits == 0 {
		return false
	}
	s.credits--
	return true
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
	return s.unproven == 0 && len(s.clients) == 0 && (s.rate == nil || full(s.rate, now))
}

func full(l *rate.Limiter, now time.Time) bool { return l.TokensAt(now) >= float64(l.Burst()) }

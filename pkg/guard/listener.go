package guard

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are the bounds of a listener. A zero number is no bound.
type Limits struct {
	// Unproven bounds the connections without a known client, PerSource those of one source.
	Unproven, PerSource int
	// PerKnownSource is what PerSource may become for a source with known clients: one more for each.
	PerKnownSource int
	// Rate bounds how many connections of one source are accepted per second, Burst how many at once. Those of known clients do not
	// count in the end.
	Rate  float64
	Burst int
	// Life is how long a connection may be without a known client; 0 for no limit.
	Life time.Duration
	// Bytes is what may be read of a connection without a known client; 0 for any number.
	Bytes int64
}

// Listener accepts connections within limits and closes others at once. It is safe for concurrent use.
type Listener struct {
	net.Listener
	limits Limits
	large  *large

	mu       sync.Mutex
	unproven int
	sources  map[netip.Addr]*source
}

// New returns a listener that accepts what l accepts, within limits.
func New(l net.Listener, limits Limits) *Listener {
	return &Listener{Listener: l, limits: limits, large: newLarge(), sources: map[netip.Addr]*source{}}
}

// Accept returns the next connection that is within the limits, a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: raw, listener: l, source: SourceOf(raw.RemoteAddr())}
		if l.enter(c.source, true) {
			c.arm()
			return c, nil
		}
		_ = raw.Close()
	}
}

// enter counts a connection without a known client; it is false if there are too many. fresh connections count for the rate too, unless
// they are refused for another reason: those cost next to nothing.
func (l *Listener) enter(from netip.Addr, fresh bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := l.source(from, now)
	s.forget(now)
	if over(l.unproven, l.limits.Unproven) || over(s.unproven, s.room(l.limits)) {
		return false
	}
	if fresh && !s.connect(now) {
		return false
	}
	l.unproven++
	s.unproven++
	return true
}

func over(n, limit int) bool { return limit > 0 && n >= limit }

func (l *Listener) source(from netip.Addr, now time.Time) *source {
	s := l.sources[from]
	if s == nil {
		l.forget(now)
		s = &source{pruned: now}
		if l.limits.Rate > 0 {
			s.rate = rate.NewLimiter(rate.Limit(l.limits.Rate), l.limits.Burst)
		}
		l.sources[from] = s
	}
	return s
}

// leave says that a connection without a known client ended, or has one now.
func (l *Listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unproven--
	l.sources[from].unproven--
}

// prove counts a stream of a known client, until the returned function is called.
func (l *Listener) prove(from netip.Addr, client string) (unprove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.source(from, now).prove(client, now)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		now := time.Now()
		l.source(from, now).unprove(client, now)
	}
}

// forget drops the sources that nothing is to be remembered of, when there are many.
func (l *Listener) forget(now time.Time) {
	const many = 4096
	if len(l.sources) < many {
		return
	}
	for from, s := range l.sources {
		if s.idle(now) {
			delete(l.sources, from)
		}
	}
}

// SourceOf is the source of an address; the zero address stands for what is not an IP address.
func SourceOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return sourceOf(t.AddrPort().Addr())
}

func sourceOf(ip netip.Addr) netip.Addr {
	const network = 64
	ip = ip.Unmap().WithZone("")
	if !ip.Is6() {
		return ip
	}
	p, err := ip.Prefix(network)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

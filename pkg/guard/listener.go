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
	// Rate bounds how many connections of one source are accepted per second, Burst how many at once.
	Rate  rate.Limit
	Burst int
	// Life is how long a connection may be without a known client; 0 for ever.
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

// source is where connections come from.
type source struct {
	unproven int
	rate     *rate.Limiter
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

// enter counts a connection without a known client; it is false if there are too many. fresh connections count for the rate too.
func (l *Listener) enter(from netip.Addr, fresh bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sources[from]
	if s == nil {
		l.forget()
		s = &source{}
		if l.limits.Rate > 0 {
			s.rate = rate.NewLimiter(l.limits.Rate, l.limits.Burst)
		}
		l.sources[from] = s
	}
	if fresh && s.rate != nil && !s.rate.Allow() {
		return false
	}
	if over(l.unproven, l.limits.Unproven) || over(s.unproven, l.limits.PerSource) {
		return false
	}
	l.unproven++
	s.unproven++
	return true
}

func over(n, limit int) bool { return limit > 0 && n >= limit }

func (l *Listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unproven--
	l.sources[from].unproven--
}

// forget drops the sources that nothing is to be remembered of, when there are many.
func (l *Listener) forget() {
	const many = 4096
	if len(l.sources) < many {
		return
	}
	for from, s := range l.sources {
		if s.unproven == 0 && (s.rate == nil || s.rate.Tokens() >= float64(l.limits.Burst)) {
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

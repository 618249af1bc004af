package nameserver

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

// Bounds of the server.
const (
	maxConnections  = 512
	maxOfOneSource  = 32
	maxQueriesByTCP = 256
	// perSecond and atOnce bound the packets of one source. The cluster's DNS asks for a name every answerTTL seconds.
	perSecond, atOnce = 1000, 2000
	readTimeout       = 2 * time.Second
	idleTimeout       = 10 * time.Second
	// queue is the room for packets that wait to be read, in bytes: a flood of others' leaves less of it.
	queue = 1 << 20
	// smallestUDP is what every client can take, largestUDP what crosses networks in one packet.
	smallestUDP, largestUDP = dns.MinMsgSize, 1232
)

// Server answers on UDP and TCP.
type Server struct {
	// Address is host:port, the same for both.
	Address string
	// Table returns the current table.
	Table func() *Table
	// Panicked is told of a fault of ours that was contained; nil for nobody.
	Panicked func(reason any, stack []byte)
}

// Run listens and answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	packets, err := lc.ListenPacket(ctx, "udp", s.Address)
	if err != nil {
		return err
	}
	connections, err := lc.Listen(ctx, "tcp", s.Address)
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	return s.Serve(ctx, packets, connections)
}

// Serve answers on the given sockets until ctx ends, and closes them.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, connections net.Listener) error {
	if c, ok := packets.(*net.UDPConn); ok {
		_ = c.SetReadBuffer(queue) // the kernel gives as much of it as it allows
	}
	handler := dns.HandlerFunc(s.answer)
	servers := []*dns.Server{
		{PacketConn: packets, Handler: handler, UDPSize: largestUDP, DecorateReader: bounded(&guard.Rates{PerSecond: perSecond, Burst: atOnce})},
		{
			Listener: guard.New(connections, guard.Limits{Unproven: maxConnections, PerSource: maxOfOneSource}),
			Handler:  handler, MaxTCPQueries: maxQueriesByTCP,
			ReadTimeout: readTimeout, WriteTimeout: readTimeout, IdleTimeout: func() time.Duration { return idleTimeout },
		},
	}
	ended := make(chan error, len(servers))
	for _, server := range servers {
		go func() { ended <- server.ActivateAndServe() }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	return errors.Join(err, packets.Close(), connections.Close())
}

// bounded drops packets of sources that send too many, before anything is made of them.
func bounded(rates *guard.Rates) dns.DecorateReader {
	return func(r dns.Reader) dns.Reader { return &reader{r, rates} }
}

type reader struct {
	dns.Reader
	rates *guard.Rates
}

// ReadUDP returns the next packet that is within the bounds.
func (r *reader) ReadUDP(c *net.UDPConn, timeout time.Duration) ([]byte, *dns.SessionUDP, error) {
	for {
		m, session, err := r.Reader.ReadUDP(c, timeout)
		if err != nil {
			return m, session, err
		}
		from, ok := session.RemoteAddr().(*net.UDPAddr)
		if ok && r.rates.Allow(from.AddrPort().Addr(), time.Now()) {
			return m, session, nil
		}
	}
}

// answer writes the answer to one question, cut to what the client can take.
func (s *Server) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := s.reply(q)
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = smallestUDP
	}
	if o := q.IsEdns0(); o != nil {
		if size != dns.MaxMsgSize {
			size = max(smallestUDP, min(int(o.UDPSize()), largestUDP))
		}
		m.SetEdns0(largestUDP, false)
	}
	m.Truncate(size)
	_ = w.WriteMsg(m) // who does not take it asks again
}

// reply is the answer of the table. A panic costs one question.
func (s *Server) reply(q *dns.Msg) (m *dns.Msg) {
	defer func() {
		if reason := recover(); reason != nil {
			if s.Panicked != nil {
				s.Panicked(reason, debug.Stack())
			}
			m = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		}
	}()
	return s.Table().Answer(q)
}

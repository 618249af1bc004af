package nameserver

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
)

// Bounds of the server.
const (
	maxConnections  = 128
	maxQueriesByTCP = 256
	readTimeout     = 2 * time.Second
	idleTimeout     = 10 * time.Second
	// smallestUDP is what every client can take, largestUDP what crosses networks in one packet.
	smallestUDP, largestUDP = dns.MinMsgSize, 1232
)

// Server answers on UDP and TCP.
type Server struct {
	// Address is host:port, the same for both.
	Address string
	// Table returns the current table.
	Table func() *Table
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
	handler := dns.HandlerFunc(s.answer)
	servers := []*dns.Server{
		{PacketConn: packets, Handler: handler, UDPSize: largestUDP},
		{
			Listener: netutil.LimitListener(connections, maxConnections), Handler: handler, MaxTCPQueries: maxQueriesByTCP,
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

// answer writes the answer to one question, cut to what the client can take.
func (s *Server) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := s.Table().Answer(q)
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

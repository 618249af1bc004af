package peer

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Server offers the rows of this replica.
type Server struct {
	// Rows returns the present rows.
	Rows func() []Row
	// Seen returns the newest resourceVersion seen, by kind; nil if there is nothing to tell. The map must not change later.
	Seen func() map[string]string
	// Watch returns a channel that receives when Rows has changed, and what ends that; it is called once per follower. nil means to
	// look again and again instead.
	Watch func() (changed <-chan struct{}, stop func())
	// Period is the shortest time between two messages, and how often is looked without Watch; 0 means 20 milliseconds.
	Period time.Duration
}

// alive is how often a follower hears of us at least, silence how long it waits before it takes us for unreachable: a connection
// that is cut, without being closed, says nothing for many minutes.
const (
	alive   = time.Second
	silence = 3 * time.Second
)

// Register adds the service to g.
func (s *Server) Register(g *grpc.Server) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: method, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			return s.follow(stream)
		}}},
	}, s)
}

// follow sends everything once and then changes only, until the follower goes. An empty first message says that we are here.
func (s *Server) follow(stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	wait, stop := s.waiter()
	defer stop()
	var told map[string]Row
	var seen map[string]string
	var last time.Time
	for {
		rows, versions := s.present()
		u, changed := diff(told, rows)
		u.Seen = moved(seen, versions)
		if changed || u.Seen != nil || time.Since(last) >= alive {
			for _, part := range u.parts() {
				m, err := encode(part)
				if err != nil {
					return err
				}
				if err := stream.SendMsg(m); err != nil {
					return err
				}
			}
			told, seen, last = rows, versions, time.Now()
		}
		if !wait(stream.Context().Done()) {
			return nil
		}
	}
}

func (s *Server) present() (map[string]Row, map[string]string) {
	rows := map[string]Row{}
	for _, r := range s.Rows() {
		rows[r.Pod] = r
	}
	if s.Seen == nil {
		return rows, nil
	}
	return rows, s.Seen()
}

// waiter returns a function that waits until there may be something to tell, false when done comes first.
func (s *Server) waiter() (wait func(done <-chan struct{}) bool, stop func()) {
	period := s.Period
	if period == 0 {
		period = 20 * time.Millisecond
	}
	pause := func(d time.Duration, early, done <-chan struct{}) bool {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-done:
			return false
		case <-early:
		case <-t.C:
		}
		return true
	}
	if s.Watch == nil {
		return func(done <-chan struct{}) bool { return pause(period, nil, done) }, func() {}
	}
	changed, stop := s.Watch()
	return func(done <-chan struct{}) bool {
		return pause(period, nil, done) && pause(alive-min(alive, period), changed, done)
	}, stop
}

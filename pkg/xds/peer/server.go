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
	// Period is how often they are compared with what a follower has; 0 means 20 milliseconds.
	Period time.Duration
}

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
	period := s.Period
	if period == 0 {
		period = 20 * time.Millisecond
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	var told map[string]Row
	for first := true; ; first = false {
		rows := map[string]Row{}
		for _, r := range s.Rows() {
			rows[r.Pod] = r
		}
		if u, changed := diff(told, rows); changed || first {
			m, err := encode(u)
			if err != nil {
				return err
			}
			if err := stream.SendMsg(m); err != nil {
				return err
			}
			told = rows
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

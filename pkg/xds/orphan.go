package xds

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lost begins the time of a stream whose group is gone. Until it is over nothing is pushed: an empty configuration would cut
// running traffic off, and a node that is recreated under the same name goes on with what its proxies have.
func (s *stream) lost() {
	if s.set == nil || s.orphan != nil || s.ended {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(s.patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.orphan == timer && !s.ended {
			s.stop(status.Errorf(codes.InvalidArgument, "mesh endpoint %s not found: it was deleted %v ago; the proxy goes on with what it has", s.group, s.patience))
		}
	})
	s.orphan = timer
}

// rejoin ends that time.
func (s *stream) rejoin() {
	if s.orphan != nil {
		s.orphan.Stop()
		s.orphan = nil
	}
}

// over stops the timer of a stream that has ended.
func (s *stream) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejoin()
}

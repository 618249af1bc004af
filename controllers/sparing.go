package controllers

import (
	"context"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

// sparing reads the API server itself on behalf of reviews, which may come from anybody: each source has a number of requests per second.
// Webhooks read like this only before they deny something because it is missing in their cache.
type sparing struct {
	client.Reader

	mu      sync.Mutex
	sources map[netip.Addr]*rate.Limiter
}

const (
	// liveRate and liveBurst are the requests of one source. A review needs four.
	liveRate, liveBurst = 40, 200
	// liveSources is how many sources are remembered.
	liveSources = 4096
)

func newSparing(r client.Reader) *sparing {
	return &sparing{Reader: r, sources: map[netip.Addr]*rate.Limiter{}}
}

// Get implements client.Reader.
func (s *sparing) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if err := s.spare(ctx); err != nil {
		return err
	}
	return s.Reader.Get(ctx, key, o, options...)
}

// List implements client.Reader.
func (s *sparing) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if err := s.spare(ctx); err != nil {
		return err
	}
	return s.Reader.List(ctx, list, options...)
}

// spare refuses what is too much; who asks in the name of a user is answered with an error that can be tried again.
func (s *sparing) spare(ctx context.Context) error {
	const second = 1
	if !s.limiter(guard.Source(ctx)).Allow() {
		return apierrors.NewTooManyRequests("too many requests need the API server itself; try again", second)
	}
	return nil
}

func (s *sparing) limiter(from netip.Addr) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.sources[from]
	if l == nil {
		if len(s.sources) >= liveSources {
			clear(s.sources)
		}
		l = rate.NewLimiter(liveRate, liveBurst)
		s.sources[from] = l
	}
	return l
}

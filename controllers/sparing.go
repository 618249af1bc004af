package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

// sparing reads the API server itself on behalf of reviews, which may come from anybody: each source has a number of requests per second.
// Webhooks read like this only before they deny something because it is missing in their cache.
type sparing struct {
	client.Reader
	rates guard.Rates
}

// liveRate and liveBurst are the requests of one source. A review needs four.
const liveRate, liveBurst = 40, 200

func newSparing(r client.Reader) *sparing {
	return &sparing{Reader: r, rates: guard.Rates{PerSecond: liveRate, Burst: liveBurst}}
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
	if !s.rates.Allow(guard.Source(ctx), time.Now()) {
		return apierrors.NewTooManyRequests("too many requests need the API server itself; try again", second)
	}
	return nil
}

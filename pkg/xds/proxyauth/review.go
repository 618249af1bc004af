package proxyauth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// Reviews is a Reviewer that asks another one at most once per token and time: proxies that reconnect all at once must not
// become as many questions to the API server. Only agreements are kept. The zero value is not usable, see NewReviews.
type Reviews struct {
	ask func(ctx context.Context, token string) (Claims, error)
	now func() time.Time

	mu sync.Mutex
	// known is by the hash of the token, so that no token lies in memory for longer than its request.
	known map[[sha256.Size]byte]*review
}

// review is one question: under way until done is closed.
type review struct {
	done   chan struct{}
	claims Claims
	err    error
	until  time.Time
}

const (
	// reviewLife is how long an agreement is kept; a token that is revoked meanwhile works for so much longer.
	reviewLife = time.Minute
	// reviewLimit bounds a question. It is asked for all who wait, so it does not end with the first of them.
	reviewLimit = 10 * time.Second
)

// NewReviews returns a Reviewer that asks r. now is the clock.
func NewReviews(r Reviewer, now func() time.Time) *Reviews {
	return &Reviews{ask: r.Review, now: now, known: map[[sha256.Size]byte]*review{}}
}

// Review implements Reviewer.
func (r *Reviews) Review(ctx context.Context, token string) (Claims, error) {
	q := r.question(ctx, token)
	select {
	case <-q.done:
		return q.claims, q.err
	case <-ctx.Done():
		return Claims{}, ctx.Err()
	}
}

// question returns the question about a token, and asks it if nobody did.
func (r *Reviews) question(ctx context.Context, token string) *review {
	key := sha256.Sum256([]byte(token))
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for k, q := range r.known {
		if !q.until.IsZero() && !now.Before(q.until) {
			delete(r.known, k)
		}
	}
	if q := r.known[key]; q != nil {
		return q
	}
	q := &review{done: make(chan struct{})}
	r.known[key] = q
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewLimit)
		defer cancel()
		claims, err := r.ask(ctx, token)
		r.mu.Lock()
		defer r.mu.Unlock()
		q.claims, q.err, q.until = claims, err, r.now().Add(reviewLife)
		if !claims.Expires.IsZero() && claims.Expires.Before(q.until) {
			q.until = claims.Expires
		}
		if err != nil {
			delete(r.known, key)
		}
		close(q.done)
	}()
	return q
}

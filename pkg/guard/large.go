package guard

import (
	"errors"
	"sync"
	"time"
)

const (
	// small is what a connection may hold of a message without a permit.
	small = 64 << 10
	// largeCount is how many connections may receive large messages at a time, largeShare how many of one owner.
	largeCount, largeShare = 12, 3
	// largeTime bounds the time of receiving one, largeWait that of waiting for a permit.
	largeTime, largeWait = 5 * time.Second, 10 * time.Second
)

var errNoRoom = errors.New("too many large messages are being received")

// large hands out permits, first come first served among those whose owner has not used up its share.
type large struct {
	mu      sync.Mutex
	held    int
	byOwner map[string]int
	waiting []*wait
}

type wait struct {
	owner string
	ready chan struct{}
}

// permit lets one connection receive one large message.
type permit struct {
	large *large
	owner string
	timer *time.Timer
}

func newLarge() *large { return &large{byOwner: map[string]int{}} }

func (l *large) acquire(owner string) (*permit, error) {
	w := &wait{owner, make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	l.next()
	l.mu.Unlock()
	limit := time.NewTimer(largeWait)
	defer limit.Stop()
	select {
	case <-w.ready:
	case <-limit.C:
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, other := range l.waiting {
			if other == w {
				l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
				return nil, errNoRoom
			}
		}
		// It came in the very moment.
	}
	return &permit{large: l, owner: owner}, nil
}

// next serves whoever may be served. The lock is held.
func (l *large) next() {
	kept := l.waiting[:0]
	for _, w := range l.waiting {
		if l.held < largeCount && l.byOwner[w.owner] < largeShare {
			l.held++
			l.byOwner[w.owner]++
			close(w.ready)
		} else {
			kept = append(kept, w)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
}

func (p *permit) release() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.large.mu.Lock()
	defer p.large.mu.Unlock()
	p.large.held--
	if p.large.byOwner[p.owner]--; p.large.byOwner[p.owner] == 0 {
		delete(p.large.byOwner, p.owner)
	}
	p.large.next()
}

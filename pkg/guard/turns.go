package guard

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Turns lets a few requests be handled at a time. Who waits longest among the requests of one source is next, and the sources take turns,
// so that a flood from one delays no other. The zero value is not usable.
type Turns struct {
	// Count is how many are handled at a time, Waiting how many of one source may wait, WaitingAll how many in all.
	Count, Waiting, WaitingAll int
	// Patience bounds the wait.
	Patience time.Duration

	mu     sync.Mutex
	busy   int
	queued int
	queues map[netip.Addr][]*turn
	// round are the sources that wait, the next one first.
	round []netip.Addr
}

type turn struct{ ready chan struct{} }

// Wrap returns a handler that waits for its turn before h is called, or answers 429 if it cannot have one.
func (t *Turns) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.take(r) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests wait for an answer", http.StatusTooManyRequests)
			return
		}
		defer t.done()
		h.ServeHTTP(w, r)
	})
}

// RequestSource is the source of a request.
func RequestSource(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return sourceOf(ip)
}

func (t *Turns) take(r *http.Request) bool {
	from := RequestSource(r)
	t.mu.Lock()
	if t.busy < t.Count && t.queued == 0 {
		t.busy++
		t.mu.Unlock()
		return true
	}
	if len(t.queues[from]) >= t.Waiting || t.queued >= t.WaitingAll {
		t.mu.Unlock()
		return false
	}
	if t.queues == nil {
		t.queues = map[netip.Addr][]*turn{}
	}
	own := &turn{make(chan struct{})}
	if len(t.queues[from]) == 0 {
		t.round = append(t.round, from)
	}
	t.queues[from] = append(t.queues[from], own)
	t.queued++
	t.mu.Unlock()
	limit := time.NewTimer(t.Patience)
	defer limit.Stop()
	select {
	case <-own.ready:
		return true
	case <-limit.C:
	case <-r.Context().Done():
	}
	return !t.leave(from, own)
}

// leave takes a request out of its queue; it is false if the turn has come meanwhile.
func (t *Turns) leave(from netip.Addr, own *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.queues[from]
	for i, other := range queue {
		if other == own {
			t.queues[from] = append(queue[:i:i], queue[i+1:]...)
			t.queued--
			if len(t.queues[from]) == 0 {
				t.empty(from)
			}
			return true
		}
	}
	return false
}

// empty forgets a source that waits for nothing any more. The lock is held.
func (t *Turns) empty(from netip.Addr) {
	delete(t.queues, from)
	for i, other := range t.round {
		if other == from {
			t.round = append(t.round[:i:i], t.round[i+1:]...)
			return
		}
	}
}

// done ends a turn and gives the next one to the source that is due.
func (t *Turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.round) == 0 {
		t.busy--
		return
	}
	from := t.round[0]
	t.round = t.round[1:]
	queue := t.queues[from]
	close(queue[0].ready)
	t.queued--
	if queue = queue[1:]; len(queue) == 0 {
		delete(t.queues, from)
		return
	}
	t.queues[from] = queue
	t.round = append(t.round, from)
}

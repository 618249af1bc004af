package xds

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// holdLimit bounds how long a listener or route waits for a cluster it needs.
const holdLimit = 5 * time.Second

// stream is the state of one connection: what the proxy has, what it was sent, and what it waits for. It is the ConfigWatcher behind
// the library's server, which calls it from one goroutine; refresh comes from another one.
type stream struct {
	cache     *Cache
	proxy     Proxy
	connected time.Time
	// stop ends the stream; its cause is the status that the proxy sees.
	stop context.CancelCauseFunc
	// distrusted are the types of which the proxy's own account is not believed.
	distrusted map[string]bool

	mu    sync.Mutex
	group string
	set   *Set
	types map[string]*typeState
	// acked is the newest set of which everything was acknowledged; moved says that something else was sent since.
	acked string
	moved bool
	nacks int
	// waits are the clusters that the proxy lacks and some listener or route needs, with the end of the wait for them.
	waits map[string]time.Time
	// held counts the listeners and routes that wait.
	held int
	// surplus are the clusters that nothing uses any more, with the time of their removal, linger after that was seen.
	surplus map[string]time.Time
	linger  time.Duration
	// patience is how long the stream outlives its group, orphan the timer of that; nil while there is a group.
	patience time.Duration
	orphan   *time.Timer
	// next is when there is something to do without anybody asking; zero for never.
	next  time.Time
	timer *time.Timer
	ended bool

	// known is closed when there is a set.
	known chan struct{}
	pace  pace
	// others are the types that are asked for and not served, dropped counts the names that were left out of requests.
	others  map[string]bool
	dropped int
	// late is set while a goroutine waits to take a new snapshot over.
	late     atomic.Bool
	panicked func(reason any) error
}

func newStream(c *Cache, p Proxy, now time.Time, stop context.CancelCauseFunc) *stream {
	return &stream{
		cache: c, proxy: p, connected: now, stop: stop, types: map[string]*typeState{}, known: make(chan struct{}), pace: newPace(),
		panicked: func(reason any) error { panic(reason) },
	}
}

// refresh takes the last snapshot over. A stream that is busy does so by itself, as soon as it can: it keeps nobody else waiting. A proxy
// that has no group any more keeps what it has.
func (s *stream) refresh() {
	if s.mu.TryLock() {
		defer s.mu.Unlock()
		s.renew()
		return
	}
	if s.late.Swap(true) {
		return // somebody waits already
	}
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.late.Store(false)
		s.renew()
	}()
}

// renew takes the last snapshot over and answers. The lock is held.
func (s *stream) renew() {
	defer s.contain()
	if s.ended || !s.adopt(s.cache.last.Load()) {
		return
	}
	if s.dropped > 0 {
		s.stop(errEnded) // what it asked for may exist now; it comes back and asks again
		return
	}
	s.answer()
}

// contain ends the stream, and nothing else, when there is a panic.
func (s *stream) contain() {
	if reason := recover(); reason != nil {
		s.stop(s.panicked(reason))
	}
}

// adopt makes the proxy's set of the snapshot the one that is served. It is false when nothing changes thereby.
func (s *stream) adopt(snap *Snapshot) bool {
	if snap == nil {
		return false
	}
	group, ok := snap.GroupOf(s.proxy.ID)
	set := snap.Sets[group]
	if !ok || set == nil {
		s.lost()
		return false
	}
	s.rejoin()
	if s.set == set && s.group == group {
		return false
	}
	if s.set == nil {
		close(s.known)
	}
	s.group, s.set = group, set
	return true
}

// CreateWatch is for the state-of-the-world protocol, which is not served.
func (s *stream) CreateWatch(*cachev3.Request, cachev3.Subscription, chan cachev3.Response) (func(), error) {
	return nil, errStateOfTheWorld
}

// CreateDeltaWatch is called for every request: it notes what the proxy wants and has, and answers now or later.
func (s *stream) CreateDeltaWatch(req *cachev3.DeltaRequest, sub cachev3.Subscription, out chan cachev3.DeltaResponse) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.types[req.GetTypeUrl()]
	if t == nil {
		t = newTypeState(req.GetTypeUrl())
		s.types[t.typeURL] = t
		for name, version := range sub.ReturnedResources() {
			if s.distrusted[t.typeURL] {
				version = unsure
			}
			t.known[strings.Clone(name)] = version
		}
	} else {
		t.again(req.GetResourceNamesSubscribe())
	}
	if wildcard(t.typeURL) {
		// The protocol: a name unsubscribed by a client that gets everything is to be sent again.
		t.again(req.GetResourceNamesUnsubscribe())
	} else {
		t.subscribe(sub.SubscribedResources())
	}
	t.out = out
	s.answer()
	return func() { s.cancel(t) }, nil
}

// cancel takes back a request that another one replaces, or whose stream is over: nothing may be sent into it any more.
func (s *stream) cancel(t *typeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.out = nil
}

// reply takes a request's acknowledgement or refusal into account, before the request itself.
func (s *stream) reply(req *discoveryv3.DeltaDiscoveryRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.types[req.GetTypeUrl()]
	if t == nil {
		return
	}
	d := t.take(req.GetResponseNonce())
	if d == nil {
		return
	}
	if detail := req.GetErrorDetail(); detail != nil {
		s.nacks++
		t.refuse(d, detail.GetMessage())
		s.cache.signal()
	} else {
		t.acknowledge(d)
	}
}

// sent notes the nonce of the response that the library is about to send.
func (s *stream) sent(typeURL, nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.types[typeURL]
	if t == nil {
		return
	}
	for _, d := range t.flight {
		if d.nonce == "" {
			d.nonce = nonce
			return
		}
	}
}

// current is true when the proxy has acknowledged everything of a type that it is to have now. Clusters that nothing uses may be there
// beside.
func (s *stream) current(typeURL string) bool {
	t := s.types[typeURL]
	if t == nil {
		return len(s.set.byType[typeURL]) == 0
	}
	if len(t.flight) > 0 {
		return false
	}
	for name, r := range s.set.byType[typeURL] {
		if t.known[name] != r.Version {
			return false
		}
	}
	return typeURL != ListenerType || len(t.known) == len(s.set.byType[typeURL])
}

// settle notes whether the proxy has acknowledged the whole set.
func (s *stream) settle() {
	if s.acked == s.set.Version && !s.moved {
		return
	}
	for _, typeURL := range order {
		if typeURL == SecretType {
			continue // secrets belong to identities, not to sets
		}
		if !s.current(typeURL) {
			return
		}
	}
	s.acked, s.moved = s.set.Version, false
	s.cache.signal()
}

// unreliable ends the timer and returns the types of which Envoy will report versions that it does not have.
func (s *stream) unreliable() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
	var bad map[string]bool
	for typeURL, t := range s.types {
		if t.doubted {
			if bad == nil {
				bad = map[string]bool{}
			}
			bad[typeURL] = true
		}
	}
	return bad
}

// state is the stream's row of the table.
func (s *stream) state() StreamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := StreamState{Proxy: s.proxy, Group: s.group, Connected: s.connected, AckedSet: s.acked, NACKs: s.nacks, Held: s.held}
	if s.set == nil {
		return out
	}
	out.SetVersion = s.set.Version
	if snap := s.cache.last.Load(); snap != nil {
		if next := snap.Sets[s.group]; next != nil {
			out.SetVersion = next.Version // about to be sent
		}
	}
	if s.moved && s.acked == out.SetVersion {
		out.AckedSet = "" // on the way back to what it had before
	}
	for typeURL, t := range s.types {
		for name, r := range t.refused {
			if want := s.set.Get(typeURL, name); want != nil && want.Version == r.Version {
				out.Refused = append(out.Refused, r)
			}
		}
	}
	slices.SortFunc(out.Refused, func(a, b Refusal) int { return strings.Compare(a.Type+a.Name, b.Type+b.Name) })
	return out
}

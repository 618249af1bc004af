package xds

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// holdLimit bounds how long a listener or route waits for the clusters it needs.
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
	// holds is when a listener or route first had to wait; released says that it waited long enough.
	holds    *time.Timer
	released bool
}

// typeState is one resource type of a stream.
type typeState struct {
	typeURL string
	// names are the subscribed names; nil for the types of which everything is sent.
	names map[string]struct{}
	// watch is the request that waits for an answer, nil while a response is on its way.
	watch    *discoveryv3.DeltaDiscoveryRequest
	out      chan cachev3.DeltaResponse
	answered bool
	// known is what the proxy has acknowledged, by name; a name known to be absent has an empty version.
	known map[string]string
	// pending is what the last response carried and the proxy has not yet replied to; removed names have an empty version.
	pending map[string]string
	nonce   string
	refused map[string]Refusal
	// single sends one resource at a time, to find the one that is refused.
	single bool
}

func newStream(c *Cache, p Proxy, now time.Time, stop context.CancelCauseFunc) *stream {
	return &stream{cache: c, proxy: p, connected: now, stop: stop, types: map[string]*typeState{}}
}

// refresh takes a new snapshot over. A proxy that has no group any more keeps what it has.
func (s *stream) refresh(snap *Snapshot) {
	group, ok := snap.GroupOf(s.proxy.ID)
	set := snap.Sets[group]
	if !ok || set == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == set {
		return
	}
	s.group, s.set = group, set
	s.answer()
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
		t = &typeState{typeURL: req.GetTypeUrl(), known: map[string]string{}, refused: map[string]Refusal{}}
		s.types[t.typeURL] = t
		if !s.distrusted[t.typeURL] {
			for name, version := range sub.ReturnedResources() {
				t.known[strings.Clone(name)] = version
			}
		}
	} else {
		// A name asked for again is sent again.
		for _, name := range req.GetResourceNamesSubscribe() {
			delete(t.known, name)
		}
	}
	if !wildcard(t.typeURL) {
		s.subscribe(t, sub.SubscribedResources())
	}
	t.watch, t.out = req, out
	s.answer()
	return func() { s.cancel(t) }, nil
}

// cancel takes back a request that another one replaces, or whose stream is over: nothing may be sent into it any more.
func (s *stream) cancel(t *typeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.watch = nil
}

// subscribe takes the subscribed names over and forgets what is no longer wanted.
func (s *stream) subscribe(t *typeState, names map[string]struct{}) {
	t.names = make(map[string]struct{}, len(names))
	for name := range names {
		t.names[name] = struct{}{}
	}
	for name := range t.known {
		if _, ok := t.names[name]; !ok {
			delete(t.known, name)
		}
	}
}

// reply takes a request's acknowledgement or refusal into account, before the request itself.
func (s *stream) reply(req *discoveryv3.DeltaDiscoveryRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.types[req.GetTypeUrl()]
	if t == nil || t.pending == nil || req.GetResponseNonce() == "" || req.GetResponseNonce() != t.nonce {
		return
	}
	if detail := req.GetErrorDetail(); detail != nil {
		s.nacks++
		t.refuse(detail.GetMessage())
		s.cache.signal()
	} else {
		for name, version := range t.pending {
			if version == "" && wildcard(t.typeURL) {
				delete(t.known, name)
			} else {
				t.known[name] = version
			}
			delete(t.refused, name)
		}
	}
	t.pending = nil
}

// sent notes the nonce of the response that the library is about to send.
func (s *stream) sent(typeURL, nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.types[typeURL]; t != nil {
		t.nonce = nonce
	}
}

// refuse quarantines what a NACK is about: the resources it names, else the only one of the response. If neither tells, the
// resources are sent again one by one. What was in the response beside them is unknown from now on and is sent again too.
func (t *typeState) refuse(text string) {
	found := false
	for name, version := range t.pending {
		delete(t.known, name)
		if mentions(text, name) || len(t.pending) == 1 {
			t.refused[name] = Refusal{Type: t.typeURL, Name: name, Version: version, Message: text}
			found = true
		}
	}
	t.single = !found
}

// mentions is true when text contains name as a whole word.
func mentions(text, name string) bool {
	for rest := text; ; {
		i := strings.Index(rest, name)
		if i < 0 || name == "" {
			return false
		}
		end := i + len(name)
		if (i == 0 || !wordByte(rest[i-1])) && (end == len(rest) || !wordByte(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

func wordByte(b byte) bool {
	return b == '_' || b == '-' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// answer sends whatever can be sent now, type by type in order, and updates what counts as acknowledged.
func (s *stream) answer() {
	if s.set == nil {
		snap := s.cache.last.Load()
		if snap == nil {
			return
		}
		group, ok := snap.GroupOf(s.proxy.ID)
		set := snap.Sets[group]
		if !ok || set == nil {
			return
		}
		s.group, s.set = group, set
	}
	held := false
	for _, typeURL := range order {
		t := s.types[typeURL]
		if t == nil || t.watch == nil || t.pending != nil {
			continue
		}
		if typeURL == EndpointType && !s.answeredClusters() {
			continue // on a new stream clusters come before their endpoints
		}
		waits := s.answerType(t)
		held = held || waits
	}
	s.hold(held)
	s.settle()
}

func (s *stream) answeredClusters() bool {
	c := s.types[ClusterType]
	return c == nil || c.answered
}

// answerType sends one response if there is something to say. It is true when resources of the type wait for clusters.
func (s *stream) answerType(t *typeState) (held bool) {
	resp := &response{request: t.watch, pending: map[string]string{}}
	for _, r := range s.wanted(t) {
		if version, ok := t.known[r.Name]; ok && version == r.Version {
			continue
		}
		if bad, ok := t.refused[r.Name]; ok && bad.Version == r.Version {
			continue
		}
		if !s.warm(r) {
			held = true
			continue
		}
		resp.resources = append(resp.resources, r.wire)
		resp.pending[r.Name] = r.Version
		if t.single {
			break
		}
	}
	if len(resp.resources) == 0 {
		t.single = false
		s.removals(t, resp)
	}
	first := !t.answered && wildcard(t.typeURL) && len(t.known) == 0
	if len(resp.resources) == 0 && len(resp.removed) == 0 && !first {
		t.answered = t.answered || len(t.known) > 0
		return held
	}
	t.answered, t.pending, t.watch, t.nonce = true, resp.pending, nil, ""
	s.moved = true
	t.out <- resp
	return held
}

// wanted are the resources of a type that the proxy should have, sorted by name. Names that do not exist stand for something that
// ends Envoy's waiting without breaking anything.
func (s *stream) wanted(t *typeState) []*Resource {
	if wildcard(t.typeURL) {
		return s.set.Resources(t.typeURL)
	}
	out := make([]*Resource, 0, len(t.names))
	for name := range t.names {
		if r := s.set.Get(t.typeURL, name); r != nil {
			out = append(out, r)
		} else if r := absent(t.typeURL, name); r != nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// absent returns what stands for a name that does not exist: an assignment without endpoints, or a route configuration
// without hosts. A removal would leave endpoints in place, and make a listener wait for ever.
func absent(typeURL, name string) *Resource {
	var r *Resource
	var err error
	switch typeURL {
	case EndpointType:
		r, err = NewResource(name, &endpointv3.ClusterLoadAssignment{ClusterName: name})
	case RouteType:
		r, err = NewResource(name, &routev3.RouteConfiguration{Name: name})
	}
	if err != nil {
		return nil
	}
	return r
}

// warm is true when every cluster that r needs is one the proxy has acknowledged, or has waited for long enough. A cluster
// that the proxy refused keeps its routes back for good.
func (s *stream) warm(r *Resource) bool {
	clusters := s.types[ClusterType]
	if len(r.Needs) == 0 || clusters == nil {
		return true
	}
	for _, name := range r.Needs {
		if _, ok := clusters.known[name]; ok {
			continue
		}
		if _, refused := clusters.refused[name]; refused || !s.released {
			return false
		}
	}
	return true
}

// removals adds what the proxy has and should not have. Clusters go last, when no listener or route can use them any more.
func (s *stream) removals(t *typeState, resp *response) {
	switch {
	case wildcard(t.typeURL):
		if t.typeURL == ClusterType && !(s.current(ListenerType) && s.current(RouteType)) {
			return
		}
		for name := range t.known {
			if s.set.Get(t.typeURL, name) == nil {
				resp.removed = append(resp.removed, name)
			}
		}
	case t.typeURL == SecretType:
		for name := range t.names {
			if version, told := t.known[name]; s.set.Get(t.typeURL, name) == nil && (!told || version != "") {
				resp.removed = append(resp.removed, name)
			}
		}
	}
	slices.Sort(resp.removed)
	for _, name := range resp.removed {
		resp.pending[name] = ""
	}
}

// current is true when the proxy has acknowledged everything of a type that it is to have now.
func (s *stream) current(typeURL string) bool {
	t := s.types[typeURL]
	if t == nil {
		return len(s.set.byType[typeURL]) == 0
	}
	if t.pending != nil {
		return false
	}
	for name, r := range s.set.byType[typeURL] {
		if t.known[name] != r.Version {
			return false
		}
	}
	if wildcard(typeURL) {
		return len(t.known) == len(s.set.byType[typeURL])
	}
	return true
}

// hold starts or ends the wait for clusters.
func (s *stream) hold(held bool) {
	switch {
	case !held:
		if s.holds != nil {
			s.holds.Stop()
			s.holds = nil
		}
		s.released = false
	case s.holds == nil:
		s.holds = time.AfterFunc(holdLimit, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.released = true
			s.answer()
		})
	}
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

// unreliable returns the types whose last response was refused.
func (s *stream) unreliable() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds != nil {
		s.holds.Stop()
	}
	var bad map[string]bool
	for typeURL, t := range s.types {
		if len(t.refused) > 0 || t.single {
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
	out := StreamState{Proxy: s.proxy, Group: s.group, Connected: s.connected, AckedSet: s.acked, NACKs: s.nacks}
	if s.set == nil {
		return out
	}
	out.SetVersion = s.set.Version
	if s.moved && s.acked == s.set.Version {
		out.AckedSet = "" // on the way back to what it had before
	}
	for _, typeURL := range order {
		t := s.types[typeURL]
		if t == nil {
			continue
		}
		for name, r := range t.refused {
			if want := s.set.Get(typeURL, name); want != nil && want.Version == r.Version {
				out.Refused = append(out.Refused, r)
			}
		}
		if typeURL == ListenerType || typeURL == RouteType {
			for _, r := range s.wanted(t) {
				if t.known[r.Name] != r.Version && !s.warm(r) {
					out.Held++
				}
			}
		}
	}
	slices.SortFunc(out.Refused, func(a, b Refusal) int { return strings.Compare(a.Type+a.Name, b.Type+b.Name) })
	return out
}

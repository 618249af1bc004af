package xds

import (
	"slices"
	"strings"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// answer sends whatever can be sent now, type by type in order, and updates what counts as acknowledged.
func (s *stream) answer() {
	if s.ended || s.set == nil && !s.adopt(s.cache.last.Load()) {
		return
	}
	now := time.Now()
	s.next = time.Time{}
	s.await(now)
	for _, typeURL := range order {
		t := s.types[typeURL]
		if t == nil || !t.free() {
			continue
		}
		if c := s.types[ClusterType]; typeURL == EndpointType && c != nil && !c.answered {
			continue // on a new stream clusters come before their endpoints
		}
		s.answerType(t, now)
	}
	s.wake(now)
	s.settle()
}

// answerType sends one response if there is something to say.
func (s *stream) answerType(t *typeState, now time.Time) {
	resp := &response{request: t.request}
	content := map[string]string{}
	held := false
	for _, r := range s.wanted(t) {
		if version, ok := t.told(r.Name); ok && version == r.Version || t.quarantined(r.Name, r.Version) {
			continue
		}
		if !s.ready(r, now) {
			held = true
			continue
		}
		resp.resources = append(resp.resources, r.wire)
		content[r.Name] = r.Version
		if len(resp.resources) == t.most {
			break // never true while there is no bound
		}
	}
	if len(resp.resources) == 0 && !held {
		t.most = 0
		resp.removed = s.removals(t, now)
		for _, name := range resp.removed {
			content[name] = ""
		}
	}
	// The first answer ends Envoy's waiting even when it is empty; a proxy that comes back with something does not wait.
	first := !t.answered && wildcard(t.typeURL) && len(t.known) == 0 && !held
	t.answered = t.answered || !held
	if len(content) == 0 && !first {
		return
	}
	t.answered = true
	t.flight = append(t.flight, &delivery{content: content})
	// A cluster that nothing uses makes no difference to what the proxy does.
	s.moved = s.moved || t.typeURL != ClusterType || len(resp.removed) == 0
	t.out <- resp
}

// wanted are the resources of a type that the proxy should have, sorted by name. A name that does not exist, and of which the proxy
// never had anything, stands for something that ends Envoy's waiting. What the proxy has stays: an old version of a cluster goes on
// using its endpoints until the new one is warm, and a chain that is drained goes on using its routes.
func (s *stream) wanted(t *typeState) []*Resource {
	if wildcard(t.typeURL) {
		return s.set.Resources(t.typeURL)
	}
	out := make([]*Resource, 0, len(t.names))
	for name := range t.names {
		if r := s.set.Get(t.typeURL, name); r != nil {
			out = append(out, r)
		} else if _, told := t.told(name); !told {
			if r := absent(t.typeURL, name); r != nil {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// absent returns what stands for a name that does not exist: an assignment without endpoints, or a route configuration
// without hosts. A removal would make a listener wait indefinitely.
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

// removals are what the proxy has and should not have. Clusters go last, when no listener or route can use them any more.
func (s *stream) removals(t *typeState, now time.Time) []string {
	var out []string
	switch t.typeURL {
	case ClusterType:
		return s.unused(t, now)
	case ListenerType:
		for name := range t.known {
			if version, ok := t.told(name); ok && version != "" && s.set.Get(t.typeURL, name) == nil {
				out = append(out, name)
			}
		}
	case SecretType:
		for name := range t.names {
			if version, ok := t.told(name); s.set.Get(t.typeURL, name) == nil && (!ok || version != "") && !t.quarantined(name, "") {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

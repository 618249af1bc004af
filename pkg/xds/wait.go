package xds

import (
	"slices"
	"time"
)

// await notes which clusters the proxy lacks that some listener or route needs, and when the wait for each of them ends. A cluster
// stays noted after its wait, so that later changes of the same routes do not wait for it again.
func (s *stream) await(now time.Time) {
	clusters := s.types[ClusterType]
	var waits map[string]time.Time
	s.held = 0
	for _, typeURL := range []string{ListenerType, RouteType} {
		t := s.types[typeURL]
		if t == nil || clusters == nil {
			continue
		}
		for _, r := range s.wanted(t) {
			held := false
			for _, name := range r.Needs {
				// A cluster that the set does not have will never come: its share of the requests is meant to fail.
				if clusters.has(name) || s.set.Get(ClusterType, name) == nil {
					continue
				}
				end, ok := s.waits[name]
				if !ok {
					end = now.Add(holdLimit)
				}
				if waits == nil {
					waits = map[string]time.Time{}
				}
				waits[name] = end
				s.wakeBy(end, now)
				held = held || end.After(now)
			}
			if held && t.known[r.Name] != r.Version {
				s.held++
			}
		}
	}
	s.waits = waits
}

// unused returns the clusters to be removed now: nothing has used them for the time of linger.
func (s *stream) unused(t *typeState, now time.Time) []string {
	var out []string
	var surplus map[string]time.Time
	settled := s.current(ListenerType) && s.current(RouteType)
	for name := range t.known {
		if version, ok := t.told(name); !ok || version == "" || s.set.Get(t.typeURL, name) != nil {
			continue
		}
		end, noted := s.surplus[name]
		if !noted {
			if !settled {
				continue
			}
			end = now.Add(s.linger)
		}
		if surplus == nil {
			surplus = map[string]time.Time{}
		}
		surplus[name] = end
		if end.After(now) {
			s.wakeBy(end, now)
		} else if settled {
			out = append(out, name)
		}
	}
	s.surplus = surplus
	slices.Sort(out)
	return out
}

// wakeBy makes the stream look again at the given time, if that is still to come.
func (s *stream) wakeBy(at, now time.Time) {
	if at.After(now) && (s.next.IsZero() || at.Before(s.next)) {
		s.next = at
	}
}

// wake sets the timer.
func (s *stream) wake(now time.Time) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.next.IsZero() {
		return
	}
	s.timer = time.AfterFunc(s.next.Sub(now), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		defer s.contain()
		s.answer()
	})
}

// ready is true when the proxy has every cluster that r needs, or has waited long enough for those it lacks. Routes of many services
// share one resource, so a cluster that never comes must not keep them back for good: only its own requests fail then.
func (s *stream) ready(r *Resource, now time.Time) bool {
	clusters := s.types[ClusterType]
	if clusters == nil {
		return true
	}
	for _, name := range r.Needs {
		if !clusters.has(name) && now.Before(s.waits[name]) {
			return false
		}
	}
	return true
}

package xds

import (
	"context"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a stream may take. A proxy asks for what its set has; names beside that are of a set that it had before, or made up.
const (
	// maxStrange bounds the subscribed names of a type that the set does not have.
	maxStrange = 1024
	// maxReported bounds the resources of a type that a proxy reports to have and that the set does not have.
	maxReported = 4096
	// maxDropped is how many names beyond these a stream may ask for before it is ended.
	maxDropped = 100_000
	// maxOthers bounds the types that are asked for and not served.
	maxOthers = 8
	// Requests and refusals per second, and at once. Envoy sends one request for each response.
	requestRate, requestBurst = 50, 100
	refusalRate, refusalBurst = 2, 60
)

// pace holds a stream's requests back, so that one proxy cannot keep the control plane busy.
type pace struct{ requests, refusals *rate.Limiter }

func newPace() pace {
	return pace{rate.NewLimiter(requestRate, requestBurst), rate.NewLimiter(refusalRate, refusalBurst)}
}

// accept turns a frame into a request within the bounds. It waits until there is a set to compare with.
func (s *stream) accept(ctx context.Context, f *frame) (*discoveryv3.DeltaDiscoveryRequest, error) {
	typeURL, id, err := f.typeOf()
	if err != nil {
		return nil, badRequest(err)
	}
	if err := s.pace.requests.Wait(ctx); err != nil {
		return nil, err
	}
	select {
	case <-s.known:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r, err := s.choose(f, typeURL, id)
	if err != nil {
		return nil, err
	}
	if r.GetErrorDetail() != nil {
		if err := s.pace.refusals.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (s *stream) choose(f *frame, typeURL, id string) (*discoveryv3.DeltaDiscoveryRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proxy.Claimed == "" {
		s.proxy.Claimed = id
	}
	if !slices.Contains(order, typeURL) {
		if s.others == nil {
			s.others = map[string]bool{}
		}
		if s.others[typeURL] = true; len(s.others) > maxOthers {
			return nil, status.Errorf(codes.InvalidArgument, "more than %d types are asked for that are not served, the last one is %q", maxOthers, cut(typeURL, maxShown))
		}
	}
	c := &choice{stream: s, state: s.types[typeURL], strange: -1}
	r, err := f.request(typeURL, c)
	if err != nil {
		return nil, badRequest(err)
	}
	if s.dropped > maxDropped {
		return nil, status.Errorf(codes.ResourceExhausted, "%d names are asked for beyond the %d that do not exist and may be asked for all the same", s.dropped, maxStrange)
	}
	return r, nil
}

// maxShown bounds what is quoted of a client's text.
const maxShown = 100

// choice chooses the names of one request. The stream's lock is held.
type choice struct {
	stream *stream
	// state is nil at the first request of a type.
	state *typeState
	// strange counts the subscribed names that the set does not have; -1 until somebody asks.
	strange, reports int
}

var _ chooser = (*choice)(nil)

// served returns the name if it is one of the set, as the string that the set has already.
func (c *choice) served(typeURL string, name []byte) (string, bool) {
	if r := c.stream.set.byType[typeURL][string(name)]; r != nil {
		return r.Name, true
	}
	return "", false
}

func (c *choice) subscribed(typeURL string, name []byte) (string, bool) {
	if own, ok := c.served(typeURL, name); ok {
		return own, true
	}
	switch {
	case string(name) == "*":
		return "*", true
	case !slices.Contains(order, typeURL) || wildcard(typeURL):
		return "", false // nothing is ever sent for it
	case c.state != nil && c.has(name):
		return string(name), true
	}
	if c.strange < 0 {
		c.strange = c.count(typeURL)
	}
	if c.strange >= maxStrange {
		c.stream.dropped++
		return "", false
	}
	c.strange++
	return string(name), true
}

func (c *choice) has(name []byte) bool {
	_, ok := c.state.names[string(name)]
	return ok
}

// count is how many subscribed names the set does not have.
func (c *choice) count(typeURL string) (n int) {
	if c.state == nil {
		return 0
	}
	for name := range c.state.names {
		if c.stream.set.byType[typeURL][name] == nil {
			n++
		}
	}
	return n
}

func (c *choice) unsubscribed(typeURL string, name []byte) (string, bool) {
	if own, ok := c.served(typeURL, name); ok {
		return own, true
	}
	known := string(name) == "*" || c.state != nil && (c.has(name) || c.state.knows(name))
	return string(name), known
}

func (c *choice) reported(typeURL string, name []byte) (string, bool) {
	if own, ok := c.served(typeURL, name); ok {
		return own, true
	}
	if c.reports >= maxReported {
		c.stream.dropped++
		return "", false
	}
	c.reports++
	return string(name), true
}

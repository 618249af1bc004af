package cli

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// reporter says what proxies do: who comes and goes, what they refuse, and who calls itself what no manifest knows. Its methods are
// safe for concurrent use.
type reporter struct {
	say   func(format string, args ...any)
	cache *xds.Cache
	last  func() *pipeline.Snapshot

	mu      sync.Mutex
	streams map[string]int
	refused map[xds.Refusal]bool
	// said is when a refused stream was last told of, by client and reason: Envoy tries again and again.
	said map[string]time.Time
}

func newReporter(say func(string, ...any), cache *xds.Cache, last func() *pipeline.Snapshot) *reporter {
	return &reporter{say: say, cache: cache, last: last, streams: map[string]int{}, refused: map[xds.Refusal]bool{}, said: map[string]time.Time{}}
}

// table compares the table of streams with what it was before.
func (r *reporter) table() {
	streams, refused := map[string]int{}, map[xds.Refusal]bool{}
	by := map[xds.Refusal]string{}
	for _, s := range r.cache.Streams() {
		streams[s.Proxy.ID]++
		for _, f := range s.Refused {
			refused[f] = true
			by[f] = s.Proxy.ID
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range streams {
		if r.streams[id] > 0 {
			continue
		}
		r.say("proxy %s connected%s", id, r.unknown(id))
	}
	for id := range r.streams {
		if streams[id] == 0 {
			r.say("proxy %s is gone", id)
		}
	}
	for f := range refused {
		if !r.refused[f] {
			r.say("REFUSED by proxy %s: %s %s: %s", by[f], f.Type[strings.LastIndex(f.Type, ".")+1:], f.Name, f.Message)
		}
	}
	for f := range r.refused {
		if !refused[f] {
			r.say("no longer refused: %s", f.Name)
		}
	}
	r.streams, r.refused = streams, refused
}

// unknown says so, and what is known, if no manifest has the node.
func (r *reporter) unknown(id string) string {
	s := r.last()
	if s == nil || s.Sets[s.Result.Model.Members[id]] != nil {
		return ""
	}
	var known []string
	for _, g := range s.Result.Model.Groups {
		known = append(known, g.ID)
	}
	slices.Sort(known)
	const shown = 10
	list := strings.Join(known[:min(shown, len(known))], ", ")
	if len(known) > shown {
		list += fmt.Sprintf(" and %d more", len(known)-shown)
	}
	return ", but no manifest has such a node; there are: " + list
}

// silence is for how long the same refusal of the same client is not repeated.
const silence = time.Minute

// intercept tells of streams that are ended for a fault of the client's.
func (r *reporter) intercept(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	err := handle(server, stream)
	switch code := status.Code(err); code {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.NotFound, codes.ResourceExhausted:
		from := "a client"
		if p, ok := peer.FromContext(stream.Context()); ok && p.Addr.String() != "" && p.Addr.String() != "@" {
			from = p.Addr.String()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		now, text := time.Now(), status.Convert(err).Message()
		if last, ok := r.said[text]; !ok || now.Sub(last) > silence {
			r.say("stream of %s ended: %s: %s", from, code, text)
		}
		const most = 1000
		if r.said[text] = now; len(r.said) > most {
			clear(r.said)
		}
	}
	return err
}

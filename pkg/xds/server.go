package xds

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	deltav3 "github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Authenticator says who opened a stream. node is what Envoy claims in its first message. Errors should carry a gRPC status:
// Unauthenticated without a valid credential, PermissionDenied with one that is not good enough.
type Authenticator interface {
	Authenticate(ctx context.Context, node *corev3.Node) (Proxy, error)
}

// Options bound the life of streams.
type Options struct {
	// MaxAge is after which time, give or take a fifth, a stream is ended; Envoy comes back at once. Zero means 30 minutes.
	MaxAge time.Duration
	// Grace is how long a stream outlives its credential. Zero means 5 minutes.
	Grace time.Duration
	// Linger is how long a cluster that nothing uses any more is left in place: connections of a replaced filter chain are closed at
	// their next response, and until then they use what they were set up with. Zero means 30 seconds.
	Linger time.Duration
	// Unknown is how long a proxy without a group is kept waiting before the stream is refused. Zero means 10 seconds.
	Unknown time.Duration
	// Orphan is how long a proxy whose group is gone keeps its stream and what it has, in case the group comes back; then the
	// stream is ended with InvalidArgument, as App Mesh did. Zero means 15 minutes.
	Orphan time.Duration
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.MaxAge, 30*time.Minute)
	set(&o.Grace, 5*time.Minute)
	set(&o.Linger, 30*time.Second)
	set(&o.Unknown, 10*time.Second)
	set(&o.Orphan, 15*time.Minute)
	return o
}

// Server is the ADS service.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	cache *Cache
	auth  Authenticator
	opts  Options
}

// NewServer returns a server that serves the cache to whom a lets in.
func NewServer(c *Cache, a Authenticator, o Options) *Server {
	return &Server{cache: c, auth: a, opts: o.withDefaults()}
}

// Register adds the service to g.
func (s *Server) Register(g *grpc.Server) { discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s) }

// GRPCOptions are the settings of a gRPC server for many idle streams: small shared buffers, and clients may ping every 5 seconds.
func GRPCOptions() []grpc.ServerOption {
	const buffer = 4 << 10
	return []grpc.ServerOption{
		grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
}

var errStateOfTheWorld = status.Error(codes.Unimplemented, "this server speaks the incremental protocol only: set api_type DELTA_GRPC in ads_config")

// StreamAggregatedResources refuses the state-of-the-world protocol with a clear error.
func (s *Server) StreamAggregatedResources(discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return errStateOfTheWorld
}

// errEnded ends a stream without blame; Envoy reconnects at once.
var errEnded = errors.New("stream ended by its age")

// DeltaAggregatedResources serves one proxy until it goes, its credential ends or its time is over.
func (s *Server) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	first, err := s.first(g)
	if err != nil {
		return err
	}
	proxy, err := s.auth.Authenticate(g.Context(), first.GetNode())
	if err != nil {
		return err
	}
	proxy.Claimed = first.GetNode().GetId()
	first.Node = nil
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	now := time.Now()
	st := newStream(s.cache, proxy, now, cancel)
	st.linger, st.patience = s.opts.Linger, s.opts.Orphan
	defer st.over()
	defer time.AfterFunc(s.age(proxy, now), func() { cancel(errEnded) }).Stop()
	defer time.AfterFunc(s.opts.Unknown, func() { st.giveUp(s.opts.Unknown) }).Stop()
	s.cache.add(st)
	defer s.cache.remove(st)
	// One server value per stream: the identity is captured here, and no later message can change it.
	delta := deltav3.NewServer(ctx, st, watcher{st})
	err = delta.DeltaStreamHandler(&conn{deltaServer: g, first: first, ctx: ctx}, "")
	if cause := context.Cause(ctx); g.Context().Err() == nil && cause != nil && !errors.Is(cause, errEnded) {
		return cause
	}
	return err
}

// age is how long a stream may live.
func (s *Server) age(p Proxy, now time.Time) time.Duration {
	age := time.Duration(float64(s.opts.MaxAge) * (0.8 + 0.4*rand.Float64()))
	if p.Expires.IsZero() {
		return age
	}
	return min(age, max(p.Expires.Sub(now)+s.opts.Grace, time.Second))
}

// first waits for the first message, but not for ever: until then nobody knows who is there.
func (s *Server) first(g deltaServer) (*discoveryv3.DeltaDiscoveryRequest, error) {
	type message struct {
		req *discoveryv3.DeltaDiscoveryRequest
		err error
	}
	got := make(chan message, 1)
	go func() {
		req, err := g.Recv()
		got <- message{req, err}
	}()
	limit := time.NewTimer(s.opts.Unknown)
	defer limit.Stop()
	select {
	case m := <-got:
		return m.req, m.err
	case <-limit.C:
		return nil, status.Error(codes.DeadlineExceeded, "nothing was asked for")
	}
}

// giveUp ends a stream that has found no group in the time that it is given. That begins when there is something to be found.
func (s *stream) giveUp(patience time.Duration) {
	left := patience - s.cache.age()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.set != nil || s.ended:
	case left > 0:
		time.AfterFunc(left, func() { s.giveUp(patience) })
	default:
		s.stop(status.Errorf(codes.NotFound, "no VirtualNode or VirtualGateway selects this proxy (%s %s/%s, calling itself %q)",
			s.proxy.ID, s.proxy.Namespace, s.proxy.Name, s.proxy.Claimed))
	}
}

// watcher lets a stream see requests before, and responses after, the library has handled them.
type watcher struct{ s *stream }

// OnDeltaStreamOpen does nothing.
func (w watcher) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }

// OnDeltaStreamClosed does nothing.
func (w watcher) OnDeltaStreamClosed(int64, *corev3.Node) {}

// OnStreamDeltaRequest hands acknowledgements to the stream.
func (w watcher) OnStreamDeltaRequest(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
	w.s.reply(r)
	return nil
}

// OnStreamDeltaResponse hands the nonce to the stream.
func (w watcher) OnStreamDeltaResponse(_ int64, _ *discoveryv3.DeltaDiscoveryRequest, r *discoveryv3.DeltaDiscoveryResponse) {
	w.s.sent(r.GetTypeUrl(), r.GetNonce())
}

type deltaServer = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

// conn is a stream whose first message has been read already. Of what a proxy says about itself nothing is kept: Envoy lists all its
// extensions, which would take more memory than everything else of a stream.
type conn struct {
	deltaServer
	first *discoveryv3.DeltaDiscoveryRequest
	once  sync.Once
	ctx   context.Context
}

// Context ends with the stream or when the server stops it.
func (c *conn) Context() context.Context { return c.ctx }

// Recv returns the first message again, then the following ones.
func (c *conn) Recv() (*discoveryv3.DeltaDiscoveryRequest, error) {
	var m *discoveryv3.DeltaDiscoveryRequest
	c.once.Do(func() { m, c.first = c.first, nil })
	if m != nil {
		return m, nil
	}
	m, err := c.deltaServer.Recv()
	if m != nil {
		m.Node = nil
	}
	return m, err
}

package xds

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	deltav3 "github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

// Authenticator says who opened a stream. node is what Envoy claims in its first message. Errors should carry a gRPC status:
// Unauthenticated without a valid credential, PermissionDenied with one that is not good enough.
type Authenticator interface {
	Authenticate(ctx context.Context, node *corev3.Node) (Proxy, error)
}

// HeadersOnly is an Authenticator that judges a stream by its headers alone: it is asked with a nil node, before a message is read.
type HeadersOnly interface {
	Authenticator
	HeadersOnly()
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
	// StreamsPerProxy bounds the streams of one proxy at a time; 0 for any number.
	StreamsPerProxy int
	// Panicked is told of a panic, which ends the one stream that it happened for; nil for nobody.
	Panicked func(reason any, stack []byte)
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

// Bounds of a connection. A proxy has one stream on it; while that ends another one may begin.
const (
	headerBytes          = 16 << 10
	streamsPerConnection = 2
	window               = 64 << 10
	handshakeTime        = 5 * time.Second
)

// GRPCOptions are the settings of a gRPC server for many idle streams of clients that are not trusted: small shared buffers, small windows,
// and clients may ping every 5 seconds.
func GRPCOptions() []grpc.ServerOption {
	const buffer = 4 << 10
	return []grpc.ServerOption{
		newCodec(), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(headerBytes), grpc.MaxConcurrentStreams(streamsPerConnection),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window), grpc.ConnectionTimeout(handshakeTime),
		grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
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
func (s *Server) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked(r)
		}
	}()
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	line := guard.FromContext(g.Context())
	c := &conn{deltaServer: g, ctx: ctx, line: line, panicked: s.panicked}
	proxy, err := s.identify(c)
	if err != nil {
		line.Blame()
		return err
	}
	now := time.Now()
	st := newStream(s.cache, proxy, now, cancel)
	st.linger, st.patience, st.panicked = s.opts.Linger, s.opts.Orphan, s.panicked
	c.stream = st
	defer st.over()
	if err := s.cache.add(st, s.opts.StreamsPerProxy); err != nil {
		line.Blame()
		return err
	}
	defer s.cache.remove(st)
	defer line.Prove(cmp.Or(proxy.Namespace, proxy.ID), proxy.ID)()
	defer time.AfterFunc(s.age(proxy, now), func() { cancel(errEnded) }).Stop()
	defer time.AfterFunc(s.opts.Unknown, func() { st.giveUp(s.opts.Unknown) }).Stop()
	st.refresh()
	if err := c.begin(s.opts.Unknown); err != nil {
		return err
	}
	// One server value per stream: the identity is captured here, and no later message can change it.
	err = deltav3.NewServer(ctx, st, watcher{st}).DeltaStreamHandler(c, "")
	if cause := context.Cause(ctx); g.Context().Err() == nil && cause != nil && !errors.Is(cause, errEnded) {
		return cause
	}
	return err
}

// identify says who is there: by the headers alone where that is possible, else with what the first message claims.
func (s *Server) identify(c *conn) (Proxy, error) {
	if _, ok := s.auth.(HeadersOnly); ok {
		return s.auth.Authenticate(c.ctx, nil)
	}
	if err := c.begin(s.opts.Unknown); err != nil {
		return Proxy{}, err
	}
	_, id, err := c.first.typeOf()
	if err != nil {
		return Proxy{}, badRequest(err)
	}
	return s.auth.Authenticate(c.ctx, &corev3.Node{Id: id})
}

// panicked tells of a panic and returns how the stream ends.
func (s *Server) panicked(reason any) error {
	if s.opts.Panicked != nil {
		s.opts.Panicked(reason, debug.Stack())
	}
	return status.Error(codes.Internal, "the control plane failed at this stream; its log says why")
}

// age is how long a stream may live.
func (s *Server) age(p Proxy, now time.Time) time.Duration {
	age := time.Duration(float64(s.opts.MaxAge) * (0.8 + 0.4*rand.Float64()))
	if p.Expires.IsZero() {
		return age
	}
	return min(age, max(p.Expires.Sub(now)+s.opts.Grace, time.Second))
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

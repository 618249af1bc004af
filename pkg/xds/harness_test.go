package xds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
)

// patience is how long a test waits for something that must come.
const patience = 10 * time.Second

// byHeader takes the identity from a header of the connection, as a token would be.
type byHeader struct{}

func (byHeader) Authenticate(ctx context.Context, _ *corev3.Node) (Proxy, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("pod"); len(v) == 1 {
		return Proxy{ID: v[0]}, nil
	}
	return Proxy{}, errors.New("no identity")
}

// lab is a server in memory and what it serves.
type lab struct {
	t       testing.TB
	cache   *Cache
	conn    *grpc.ClientConn
	groups  map[string]string
	sets    map[string]*Set
	seq     uint64
	stopped func()
}

func newLab(t testing.TB, o Options) *lab {
	t.Helper()
	l := &lab{t: t, cache: NewCache(), groups: map[string]string{"pod": "group"}, sets: map[string]*Set{}}
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(GRPCOptions()...)
	NewServer(l.cache, byHeader{}, o).Register(g)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///lab", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	l.conn = conn
	l.stopped = func() { _ = conn.Close(); g.Stop(); <-served }
	return l
}

// start returns a lab that ends with the test.
func start(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, Options{Linger: time.Nanosecond})
	t.Cleanup(l.stopped)
	return l
}

// publish serves the resources to the group "group".
func (l *lab) publish(resources ...*Resource) *Set {
	l.t.Helper()
	return l.publishTo("group", resources...)
}

func (l *lab) publishTo(group string, resources ...*Resource) *Set {
	l.sets = maps.Clone(l.sets)
	l.sets[group] = NewSet(resources...)
	l.republish()
	return l.sets[group]
}

func (l *lab) republish() {
	l.seq++
	groups := maps.Clone(l.groups)
	l.cache.Publish(&Snapshot{Seq: l.seq, Sets: l.sets, GroupOf: func(p string) (string, bool) { g, ok := groups[p]; return g, ok }})
}

// row returns the only row of the table.
func (l *lab) row() StreamState {
	l.t.Helper()
	rows := l.cache.Streams()
	if len(rows) != 1 {
		l.t.Fatalf("%d rows, want 1", len(rows))
	}
	return rows[0]
}

// until waits for a state of the only row. Every change of it is signalled.
func (l *lab) until(what string, ok func(StreamState) bool) {
	l.t.Helper()
	timeout := time.After(patience)
	for {
		if rows := l.cache.Streams(); len(rows) == 1 && ok(rows[0]) {
			return
		}
		select {
		case <-l.cache.Changed():
		case <-timeout:
			l.t.Fatalf("%s; the row is %+v", what, l.cache.Streams())
		}
	}
}

func (l *lab) untilAcked(s *Set) {
	l.t.Helper()
	l.until("the set is not acknowledged", func(r StreamState) bool { return r.AckedSet == s.Version && r.SetVersion == s.Version })
}

// client is a proxy that speaks the protocol.
type client struct {
	t      testing.TB
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	got    chan *discoveryv3.DeltaDiscoveryResponse
	err    error
	close  func()
	probes int
}

func (l *lab) connect(pod string) *client {
	l.t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "pod", pod))
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(l.conn).DeltaAggregatedResources(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	c := &client{t: l.t, stream: s, got: make(chan *discoveryv3.DeltaDiscoveryResponse, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(c.got)
		for {
			m, err := s.Recv()
			if err != nil {
				c.err = err
				return
			}
			c.got <- m
		}
	}()
	c.close = func() { cancel(); <-done }
	if t, ok := l.t.(*testing.T); ok {
		t.Cleanup(c.close)
	}
	return c
}

func (c *client) send(m *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	if err := c.stream.Send(m); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// subscribe asks for names of a type; none for everything.
func (c *client) subscribe(typeURL string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

func (c *client) ack(m *discoveryv3.DeltaDiscoveryResponse) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()})
}

func (c *client) nack(m *discoveryv3.DeltaDiscoveryResponse, text string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce(), ErrorDetail: &status.Status{Code: 13, Message: text}})
}

// receive waits for the next response.
func (c *client) receive() *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	select {
	case m, ok := <-c.got:
		if !ok {
			c.t.Fatalf("the stream ended: %v", c.err)
		}
		return m
	case <-time.After(patience):
		c.t.Fatal("no response")
		return nil
	}
}

// expect waits for the next response and compares its type, the names in it and, with a minus, those removed.
func (c *client) expect(typeURL string, want ...string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	m := c.receive()
	var got []string
	for _, r := range m.GetResources() {
		got = append(got, r.GetName())
	}
	for _, name := range m.GetRemovedResources() {
		got = append(got, "-"+name)
	}
	if m.GetTypeUrl() != typeURL || !slices.Equal(got, want) {
		c.t.Fatalf("response %s %v, want %s %v", m.GetTypeUrl(), got, typeURL, want)
	}
	return m
}

// accept expects a response and acknowledges it.
func (c *client) accept(typeURL string, want ...string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	m := c.expect(typeURL, want...)
	c.ack(m)
	return m
}

// silence proves that nothing was sent that the test has not seen: a question asked now gets the very next answer. Nothing is
// sent by itself later, but for what a clock releases.
func (c *client) silence() {
	c.t.Helper()
	c.probes++
	name := fmt.Sprintf("probe-%d", c.probes)
	c.subscribe(EndpointType, name)
	c.accept(EndpointType, name)
}

func must(r *Resource, err error) *Resource {
	if err != nil {
		panic(err)
	}
	return r
}

// cluster returns a cluster whose content depends on rev.
func cluster(name string, rev int) *Resource {
	return must(NewResource(name, &clusterv3.Cluster{Name: name, ConnectTimeout: durationpb.New(time.Duration(rev) * time.Second)}))
}

func endpoints(name string, port uint32) *Resource {
	return must(NewResource(name, &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{Priority: port}}}))
}

func listener(name string, rev uint32, needs ...string) *Resource {
	return must(NewResource(name, &listenerv3.Listener{Name: name, StatPrefix: fmt.Sprint(rev)}, needs...))
}

func routes(name string, rev int, needs ...string) *Resource {
	return must(NewResource(name, &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{
		{Name: fmt.Sprint(rev), Domains: []string{"*"}},
	}}, needs...))
}

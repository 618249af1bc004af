package xds

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

// early judges by headers.
type early struct{ byHeader }

func (early) HeadersOnly() {}

// ended waits for the end of a stream and returns its status.
func (c *client) ended() *status.Status {
	c.t.Helper()
	for {
		select {
		case _, ok := <-c.got:
			if !ok {
				return status.Convert(c.err)
			}
		case <-time.After(patience):
			c.t.Fatal("the stream does not end")
		}
	}
}

// TestACredentialIsJudgedBeforeAMessageIsRead: a stranger who says nothing is refused at once, and nothing of what he sends is looked at.
func TestACredentialIsJudgedBeforeAMessageIsRead(t *testing.T) {
	t.Parallel()
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(GRPCOptions()...)
	cache := NewCache()
	NewServer(cache, early{}, Options{}).Register(g)
	go func() { _ = g.Serve(listener) }()
	defer g.Stop()
	conn, err := grpc.NewClient("passthrough:///lab", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "no identity") {
		t.Errorf("%v, %v", m, err)
	}
	s, err = discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(
		metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("h", headerBytes), "pod", "pod"))
	if err == nil {
		_, err = s.Recv()
	}
	if err == nil {
		t.Errorf("%d bytes of headers were taken", headerBytes)
	}
	if n := len(cache.Streams()); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestAProxyHasSoManyStreamsOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t, Options{StreamsPerProxy: 2})
	t.Cleanup(l.stopped)
	l.publish(basic()...)
	first := l.connect("pod")
	first.subscribe(ClusterType)
	first.accept(ClusterType, "c1")
	second := l.connect("pod")
	second.subscribe(ClusterType)
	second.accept(ClusterType, "c1")
	if err := l.cache.add(newStream(l.cache, Proxy{ID: "pod"}, time.Now(), func(error) {}), 2); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third stream: %v", err)
	}
	if err := l.cache.add(newStream(l.cache, Proxy{ID: "another"}, time.Now(), func(error) {}), 2); err != nil {
		t.Errorf("a stream of another proxy: %v", err)
	}
	second.close()
	for deadline := time.Now().Add(patience); ; {
		third := newStream(l.cache, Proxy{ID: "pod"}, time.Now(), func(error) {})
		if l.cache.add(third, 2) == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a stream that has ended counts still")
		}
		time.Sleep(time.Millisecond)
	}
}

func namesOf(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return out
}

// TestNamesThatDoNotExistTakeLittle: a few are remembered, because a set may lag behind; more are not, and very many end the stream.
func TestNamesThatDoNotExistTakeLittle(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(append(basic(), endpoints("z", 1))...)
	c := l.connect("pod")
	c.subscribe(EndpointType, append(namesOf("n", maxStrange+500), "z")...)
	m := c.receive()
	if got := len(m.GetResources()); got != maxStrange+1 {
		t.Errorf("%d assignments, want %d for names that do not exist and one that does", got, maxStrange)
	}
	c.ack(m)
	c.subscribe(EndpointType, "e1")
	c.accept(EndpointType, "e1")
	// What was left out may exist in the next set: the proxy is to come back and ask again.
	l.publish(append(basic(), endpoints("z", 2))...)
	if s := c.ended(); s.Code() != codes.OK && s.Message() != "EOF" {
		t.Errorf("ended with %v", s)
	}
	hostile := l.connect("pod")
	for range maxDropped/50_000 + 1 {
		hostile.subscribe(EndpointType, namesOf("x", 50_000)...)
	}
	if s := hostile.ended(); s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "names are asked for") {
		t.Errorf("ended with %v", s)
	}
}

func TestARequestBeyondTheBoundsEndsTheStreamWithTheReason(t *testing.T) {
	t.Parallel()
	var types []*discoveryv3.DeltaDiscoveryRequest
	for i := range maxOthers + 1 {
		types = append(types, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: fmt.Sprintf("type.googleapis.com/unknown.T%d", i)})
	}
	one := func(m *discoveryv3.DeltaDiscoveryRequest) []*discoveryv3.DeltaDiscoveryRequest {
		m.TypeUrl = EndpointType
		return []*discoveryv3.DeltaDiscoveryRequest{m}
	}
	for name, c := range map[string]struct {
		messages []*discoveryv3.DeltaDiscoveryRequest
		code     codes.Code
		words    string
	}{
		"a message that is too large": {one(&discoveryv3.DeltaDiscoveryRequest{ResponseNonce: strings.Repeat("n", maxMessage)}), codes.ResourceExhausted, "larger than max"},
		"a name that is too long":     {one(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{strings.Repeat("n", maxName+1)}}), codes.InvalidArgument, "bytes long"},
		"too many types":              {types, codes.InvalidArgument, "types are asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := start(t)
			l.publish(basic()...)
			proxy := l.connect("pod")
			for _, m := range c.messages {
				_ = proxy.stream.Send(m) // the stream may have ended
			}
			if s := proxy.ended(); s.Code() != c.code || !strings.Contains(s.Message(), c.words) {
				t.Errorf("ended with %v, want %v with %q", s, c.code, c.words)
			}
		})
	}
}

// TestARequestIsReadAsProtobufDoes: but for the node, of which the id is all that is kept.
func TestARequestIsReadAsProtobufDoes(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	st := newStream(l.cache, Proxy{ID: "pod"}, time.Now(), func(error) {})
	st.refresh()
	want := &discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: EndpointType, ResourceNamesSubscribe: []string{"e1", "other"}, ResourceNamesUnsubscribe: []string{"e1"},
		InitialResourceVersions: map[string]string{"e1": "1", "old": "2"}, ResponseNonce: "7",
	}
	sent := proto.Clone(want).(*discoveryv3.DeltaDiscoveryRequest)
	sent.Node = &corev3.Node{Id: "me", Cluster: "x", Extensions: []*corev3.Extension{{Name: "y"}}}
	b, err := proto.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	got, err := st.accept(t.Context(), &frame{b})
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if st.proxy.Claimed != "me" {
		t.Errorf("calls itself %q", st.proxy.Claimed)
	}
	for i := range len(b) {
		_, _ = st.choose(&frame{b[:i]}, EndpointType, "") // whatever it is, it does not panic
	}
}

// TestARefusalIsCutWhereItComesIn: what a proxy says does not fill the memory or other people's screens.
func TestARefusalIsCutWhereItComesIn(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("c1", 1), cluster("c2", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	m := c.expect(ClusterType, "c1", "c2")
	c.nack(m, "c1: "+strings.Repeat("words of mallory \x00 ü", 50_000))
	c.expect(ClusterType, "c2")
	l.until("no refusal", func(r StreamState) bool { return len(r.Refused) == 1 })
	if text := l.row().Refused[0].Message; len(text) > MaxText || !strings.HasPrefix(text, "c1: words of mallory") || !strings.HasSuffix(text, "…") {
		t.Errorf("%d bytes: %.100q", len(text), text)
	}
}

// TestAStreamThatIsBusyKeepsNobodyWaiting: publishing goes on while a request of one stream is looked at, and the stream catches up.
func TestAStreamThatIsBusyKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	var busy *stream
	l.cache.mu.Lock()
	for s := range l.cache.streams {
		busy = s
	}
	l.cache.mu.Unlock()
	busy.mu.Lock()
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range 100 {
			l.cache.Publish(&Snapshot{Seq: uint64(i), Sets: map[string]*Set{"group": NewSet(cluster("c1", 100+i))}, GroupOf: func(string) (string, bool) { return "group", true }})
		}
	}()
	select {
	case <-published:
	case <-time.After(patience):
		t.Error("publishing waits for a stream")
	}
	busy.mu.Unlock()
	m := c.expect(ClusterType, "c1")
	if got, want := m.GetResources()[0].GetVersion(), cluster("c1", 199).Version; got != want {
		t.Error("the stream caught up with something else than the last snapshot")
	}
}

// TestAFloodOfRefusalsIsHeldBack: refusing everything again and again takes as little time of ours as refusing it now and then.
func TestAFloodOfRefusalsIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{})
		defer l.stopped()
		l.publish(basic()...)
		c := l.connect("pod")
		defer c.close()
		begin := time.Now()
		const often = refusalBurst + 20
		for i := range often {
			name := fmt.Sprintf("n%d", i)
			c.subscribe(EndpointType, name)
			c.nack(c.expect(EndpointType, name), "no")
		}
		c.silence()
		if d := time.Since(begin); d < 5*time.Second {
			t.Errorf("%d refusals within %v", often, d)
		}
	})
}

// TestAPanicEndsOneStreamOnly: a fault of ours is told, and others are served.
func TestAPanicEndsOneStreamOnly(t *testing.T) {
	t.Parallel()
	told := make(chan any, 10)
	l := newLab(t, Options{Panicked: func(reason any, _ []byte) { told <- reason }})
	t.Cleanup(l.stopped)
	l.publish(basic()...)
	good, bad := l.connect("pod"), l.connect("pod")
	for _, c := range []*client{good, bad} {
		c.subscribe(ClusterType)
		c.accept(ClusterType, "c1")
	}
	l.cache.mu.Lock()
	for s := range l.cache.streams {
		s.mu.Lock()
		s.types[ClusterType].known = nil // writing to it panics
		s.mu.Unlock()
		break
	}
	l.cache.mu.Unlock()
	l.publish(append(basic(), cluster("c2", 1))...)
	ended := make(chan *client, 2)
	for _, c := range []*client{good, bad} {
		go func() {
			for {
				m, ok := <-c.got
				if !ok {
					ended <- c
					return
				}
				if c.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}) != nil {
					continue
				}
			}
		}()
	}
	select {
	case c := <-ended:
		if status.Code(c.err) != codes.Internal {
			t.Errorf("ended with %v", c.err)
		}
	case <-time.After(patience):
		t.Fatal("no stream ended")
	}
	if len(told) == 0 {
		t.Error("nobody was told")
	}
	l.until("the other stream has gone too", func(StreamState) bool { return true })
}

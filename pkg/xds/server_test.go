package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestAStateOfTheWorldStreamIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	l := start(t)
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(l.conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v, want Unimplemented", err)
	}
}

func TestAStreamWithoutCredentialsIsRefused(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(l.conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err == nil {
		t.Errorf("answered: %v", m)
	}
	if n := len(l.cache.Streams()); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestAStreamEndsByItsAgeWithoutBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{MaxAge: time.Hour})
		defer l.stopped()
		l.publish(basic()...)
		c := l.connect("pod")
		defer c.close()
		begin := time.Now()
		whole(c)
		if _, ok := <-c.got; ok || !errors.Is(c.err, io.EOF) {
			t.Errorf("ended with %v, want EOF", c.err)
		}
		if age := time.Since(begin); age < 48*time.Minute || age > 72*time.Minute {
			t.Errorf("ended after %v, want an hour, give or take a fifth", age)
		}
	})
}

func TestAStreamOutlivesItsCredentialByTheGraceOnly(t *testing.T) {
	t.Parallel()
	s := NewServer(NewCache(), byHeader{}, Options{})
	now := time.Now()
	if got := s.age(Proxy{Expires: now.Add(10 * time.Minute)}, now); got != 15*time.Minute {
		t.Errorf("%v, want 15m", got)
	}
	if got := s.age(Proxy{Expires: now.Add(-time.Hour)}, now); got <= 0 {
		t.Errorf("%v", got)
	}
}

func TestAFaultThatWouldCostAWholeResponseIsFoundBeforehand(t *testing.T) {
	t.Parallel()
	if _, err := NewResource("c", &clusterv3.Cluster{Name: "c", ConnectTimeout: durationpb.New(0)}); err == nil {
		t.Error("a connect timeout of zero passes")
	}
}

func TestSetsOfTheSameContentHaveTheSameVersion(t *testing.T) {
	t.Parallel()
	a, b := NewSet(cluster("a", 1), cluster("b", 1)), NewSet(cluster("b", 1), cluster("a", 1))
	if a.Version != b.Version {
		t.Error("the order of resources shows in the version")
	}
	if c := NewSet(cluster("a", 1), cluster("b", 2)); c.Version == a.Version {
		t.Error("another content, the same version")
	}
}

// Streams come and go while sets are published: nobody may send to a stream that is over, and nobody may be left behind.
func TestPublishingWhileStreamsComeAndGo(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("c0", 1))
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "pod", "pod"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				visit(ctx, l)
			}
		})
	}
	for i := range 300 {
		l.publish(cluster("c0", 1+i), cluster(fmt.Sprintf("c%d", i%7+1), 1), listener("l", uint32(i)), routes("r", i))
		l.cache.Streams()
	}
	cancel()
	wg.Wait()
	l.gone()
	set := l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	l.untilAcked(set)
}

// visit opens a stream, takes a few responses and goes.
func visit(ctx context.Context, l *lab) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(l.conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return
	}
	for _, typeURL := range []string{ClusterType, ListenerType} {
		_ = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL})
	}
	_ = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: RouteType, ResourceNamesSubscribe: []string{"r"}})
	for range 5 {
		m, err := s.Recv()
		if err != nil {
			return
		}
		_ = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()})
	}
}

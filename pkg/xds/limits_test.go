package xds

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestManyChangesPassAClusterThatNeverWarms(t *testing.T) {
	t.Parallel()
	l := start(t)
	c := l.connect("pod")
	set := []*Resource{cluster("slow", 1)}
	l.publish(set...)
	c.subscribe(ClusterType)
	c.expect(ClusterType, "slow")
	for i := range 20 {
		name := fmt.Sprintf("c%02d", i)
		set = append(set, cluster(name, 1))
		l.publish(set...)
		c.expect(ClusterType, name)
	}
}

func TestAReasonAccusesNobodyElse(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("a", 1), cluster("bad", 1), cluster("c", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.nack(c.expect(ClusterType, "a", "bad", "c"), "Error adding/updating cluster(s) bad: there is a fault beside c")
	c.accept(ClusterType, "a", "c")
	c.silence()
}

func TestAnUnnamedCulpritAmongFiveHundredTakesFewAnswers(t *testing.T) {
	t.Parallel()
	l := start(t)
	const culprit = "e411"
	var list []*Resource
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("e%03d", i))
		list = append(list, endpoints(names[i], 1))
	}
	l.publish(list...)
	c := l.connect("pod")
	c.subscribe(EndpointType, names...)
	good, rounds := 0, 0
	for good < len(names)-1 {
		m := c.receive()
		rounds++
		if slices.ContainsFunc(m.Resources, func(r *discoveryv3.Resource) bool { return r.Name == culprit }) {
			c.nack(m, "malformed IP address")
			continue
		}
		good += len(m.Resources)
		c.ack(m)
	}
	c.silence()
	if r := l.row(); rounds > 25 || len(r.Refused) != 1 || r.Refused[0].Name != culprit {
		t.Errorf("%d answers, refused %+v", rounds, r.Refused)
	}
}

func TestARefusalOfOneLeavesTheProxysAccountBelieved(t *testing.T) {
	t.Parallel()
	l := start(t)
	set := l.publish(cluster("a", 1), cluster("b", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.accept(ClusterType, "a", "b")
	l.publish(cluster("a", 2), cluster("b", 1))
	c.nack(c.expect(ClusterType, "a"), "no")
	c.silence()
	c.close()
	l.gone()
	c = l.connect("pod")
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType, InitialResourceVersions: map[string]string{
		"a": set.Get(ClusterType, "a").Version, "b": set.Get(ClusterType, "b").Version,
	}})
	c.expect(ClusterType, "a")
}

func TestAClusterOutsideTheSetHoldsNothingBack(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("a", 1), routes("r", 1, "a", "nowhere"))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.accept(ClusterType, "a")
	c.silence()
	c.subscribe(RouteType, "r")
	c.accept(RouteType, "r")
	if r := l.row(); r.Held != 0 {
		t.Errorf("%d held", r.Held)
	}
}

func TestAPodThatIsGoneIsDisconnected(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	l.cache.Disconnect("another")
	c.silence()
	l.cache.Disconnect("pod")
	if m, ok := <-c.got; ok || status.Code(c.err) != codes.Unknown {
		t.Errorf("got %v, ended with %v, want the end of the stream", m, c.err)
	}
	l.gone()
}

func TestPatienceWithAProxyWithoutAGroupBeginsWhenThereIsSomethingToServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{})
		defer l.stopped()
		c := l.connect("stranger")
		defer c.close()
		c.subscribe(ClusterType)
		time.Sleep(time.Minute)
		l.publish(basic()...)
		begin := time.Now()
		if _, ok := <-c.got; ok || status.Code(c.err) != codes.NotFound {
			t.Errorf("ended with %v, want NotFound", c.err)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("after %v, want 10s", d)
		}
	})
}

func TestWhoSaysNothingIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{})
		defer l.stopped()
		c := l.connect("pod")
		defer c.close()
		if _, ok := <-c.got; ok || status.Code(c.err) != codes.DeadlineExceeded {
			t.Errorf("ended with %v, want DeadlineExceeded", c.err)
		}
	})
}

func TestEveryWatcherIsTold(t *testing.T) {
	t.Parallel()
	l := start(t)
	other, stop := l.cache.Watch()
	defer stop()
	l.publish(basic()...)
	l.connect("pod").subscribe(ClusterType)
	for _, ch := range []<-chan struct{}{l.cache.Changed(), other} {
		select {
		case <-ch:
		case <-time.After(patience):
			t.Error("not told")
		}
	}
}

func TestFaultsThatWouldHalfApplyAResponseAreFoundBeforehand(t *testing.T) {
	t.Parallel()
	host := func(name, domain string) *routev3.VirtualHost {
		return &routev3.VirtualHost{Name: name, Domains: []string{domain}}
	}
	at := func(address string) proto.Message {
		return &endpointv3.ClusterLoadAssignment{ClusterName: "c", Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: &corev3.Address{
				Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 80},
				}},
			}}},
		}}}}}
	}
	for name, c := range map[string]struct {
		m    proto.Message
		good bool
	}{
		"different domains":             {&routev3.RouteConfiguration{Name: "r", VirtualHosts: []*routev3.VirtualHost{host("a", "a"), host("b", "b")}}, true},
		"a domain twice, case ignored":  {&routev3.RouteConfiguration{Name: "r", VirtualHosts: []*routev3.VirtualHost{host("a", "a.b"), host("b", "A.b")}}, false},
		"a virtual host twice":          {&routev3.RouteConfiguration{Name: "r", VirtualHosts: []*routev3.VirtualHost{host("a", "a"), host("a", "b")}}, false},
		"an IPv4 endpoint":              {at("10.0.0.1"), true},
		"an IPv6 endpoint":              {at("fd00::1"), true},
		"an endpoint with a host name":  {at("localhost"), false},
		"an endpoint without a address": {at("0.0.0"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewResource("x", c.m); (err == nil) != c.good {
				t.Errorf("error %v, want good = %v", err, c.good)
			}
		})
	}
}

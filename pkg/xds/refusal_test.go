package xds

import (
	"fmt"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

func TestARefusedResourceIsNamedAndTheOthersAreSentAgain(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("a", 1), cluster("bad", 1), cluster("bad.er", 1), cluster("c", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.nack(c.expect(ClusterType, "a", "bad", "bad.er", "c"), "Error adding/updating cluster(s) bad: it is bad")
	c.accept(ClusterType, "a", "bad.er", "c")
	c.silence()
	r := l.row()
	if len(r.Refused) != 1 || r.Refused[0].Name != "bad" || !strings.Contains(r.Refused[0].Message, "it is bad") || r.NACKs != 1 {
		t.Errorf("refused: %+v, NACKs %d", r.Refused, r.NACKs)
	}
	if r.AckedSet != "" {
		t.Errorf("a set with a refused resource counts as acknowledged")
	}
	// The same content is not tried again, a new one is.
	l.publish(cluster("a", 2), cluster("bad", 1), cluster("bad.er", 1), cluster("c", 1))
	c.accept(ClusterType, "a")
	set := l.publish(cluster("a", 2), cluster("bad", 2), cluster("bad.er", 1), cluster("c", 1))
	c.accept(ClusterType, "bad")
	c.subscribe(ListenerType)
	c.accept(ListenerType)
	l.untilAcked(set)
	if r := l.row(); len(r.Refused) != 0 {
		t.Errorf("refused after the recovery: %+v", r.Refused)
	}
}

func TestARefusalWithoutANameIsTracedByHalves(t *testing.T) {
	t.Parallel()
	l := start(t)
	var list []*Resource
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprintf("e%d", i))
		list = append(list, endpoints(names[i], 1))
	}
	l.publish(list...)
	c := l.connect("pod")
	c.subscribe(EndpointType, names...)
	c.nack(c.expect(EndpointType, names...), "malformed IP address")
	c.nack(c.expect(EndpointType, "e0", "e1"), "malformed IP address")
	c.accept(EndpointType, "e0")
	c.nack(c.expect(EndpointType, "e1"), "malformed IP address")
	c.accept(EndpointType, "e2", "e3")
	c.silence()
	if r := l.row(); len(r.Refused) != 1 || r.Refused[0].Name != "e1" {
		t.Errorf("refused: %+v", r.Refused)
	}
}

func TestARefusedRemovalIsNotTriedForEver(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(listener("l1", 1), listener("l2", 1))
	c := l.connect("pod")
	c.subscribe(ListenerType)
	c.accept(ListenerType, "l1", "l2")
	l.publish(listener("l1", 1))
	c.nack(c.expect(ListenerType, "-l2"), "no")
	c.subscribe(SecretType, "s")
	c.nack(c.expect(SecretType, "-s"), "no")
	c.silence()
}

func TestAChangeThatIsRefusedDoesNotKeepRoutesToTheOldVersionBack(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	l.publish(append(basic()[1:3], cluster("c1", 2), routes("r1", 1, "c1"))...)
	c.nack(c.expect(ClusterType, "c1"), "c1: bad")
	l.publish(append(basic()[1:3], cluster("c1", 2), routes("r1", 2, "c1"))...)
	c.accept(RouteType, "r1")
	c.silence()
	// Back to what Envoy still has: sent all the same, for what Envoy holds is not certain.
	set := l.publish(basic()...)
	c.accept(ClusterType, "c1")
	c.accept(RouteType, "r1")
	l.untilAcked(set)
}

func TestAfterARefusalTheProxysOwnAccountIsNotBelieved(t *testing.T) {
	t.Parallel()
	l := start(t)
	set := l.publish(cluster("a", 1), cluster("b", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	m := c.expect(ClusterType, "a", "b")
	c.nack(m, "something is wrong")
	c.expect(ClusterType, "a") // one by one, and the stream ends in the middle of it
	c.close()
	l.gone()
	back := func(want ...string) *client {
		c := l.connect("pod")
		c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType, InitialResourceVersions: map[string]string{
			"a": set.Get(ClusterType, "a").Version, "b": set.Get(ClusterType, "b").Version, "ghost": "1",
		}})
		if len(want) > 0 {
			c.accept(ClusterType, want...)
			c.accept(ClusterType, "-ghost")
		}
		return c
	}
	c = back("a", "b")
	c.silence()
	c.close()
	l.gone()
	// That stream ended in order, so its account counts again.
	l.publish(cluster("a", 1), cluster("b", 1), cluster("ghost", 1))
	c = l.connect("pod")
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType, InitialResourceVersions: map[string]string{
		"a": set.Get(ClusterType, "a").Version, "b": set.Get(ClusterType, "b").Version,
	}})
	c.accept(ClusterType, "ghost")
	c.silence()
}

package xds

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// whole brings a client to having c1, e1, l1 and r1 of the published set.
func whole(c *client) {
	c.t.Helper()
	c.subscribe(ClusterType)
	c.accept(ClusterType, "c1")
	c.subscribe(EndpointType, "e1")
	c.accept(EndpointType, "e1")
	c.subscribe(ListenerType)
	c.accept(ListenerType, "l1")
	c.subscribe(RouteType, "r1")
	c.accept(RouteType, "r1")
}

func basic() []*Resource {
	return []*Resource{cluster("c1", 1), endpoints("e1", 1), listener("l1", 1), routes("r1", 1, "c1")}
}

func TestASubscriberGetsEverythingOnceAndThenChangesOnly(t *testing.T) {
	t.Parallel()
	l := start(t)
	set := l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	l.untilAcked(set)
	c.silence()
	next := l.publish(cluster("c1", 1), endpoints("e1", 2), listener("l1", 1), routes("r1", 1, "c1"))
	if r := l.row(); r.AckedSet != set.Version || r.SetVersion != next.Version {
		t.Errorf("before the acknowledgement: %+v", r)
	}
	c.accept(EndpointType, "e1")
	l.untilAcked(next)
	c.silence()
}

func TestNothingIsAnsweredBeforeTheFirstPublish(t *testing.T) {
	t.Parallel()
	l := start(t)
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.subscribe(EndpointType, "e1")
	l.until("the stream is not there", func(r StreamState) bool { return r.Proxy.ID == "pod" })
	l.publish(cluster("c1", 1), endpoints("e1", 1))
	// Whatever had been answered before would come first, and would not know c1.
	c.accept(ClusterType, "c1")
	c.accept(EndpointType, "e1")
}

func TestTheFirstAnswerToAWildcardIsSentEvenWhenEmpty(t *testing.T) {
	t.Parallel()
	l := start(t)
	set := l.publish()
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.accept(ClusterType)
	c.subscribe(ListenerType)
	c.accept(ListenerType)
	l.untilAcked(set)
	c.silence()
}

func TestNamesThatDoNotExistAreAnsweredByType(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish()
	c := l.connect("pod")
	c.subscribe(EndpointType, "nobody")
	c.accept(EndpointType, "nobody")
	c.subscribe(RouteType, "nowhere")
	c.accept(RouteType, "nowhere")
	c.subscribe(SecretType, "nothing")
	c.accept(SecretType, "-nothing")
	c.silence()
	// Once they exist they are sent.
	l.publish(endpoints("nobody", 1))
	c.accept(EndpointType, "nobody")
	l.publish(endpoints("nobody", 1), routes("nowhere", 1))
	c.accept(RouteType, "nowhere")
	c.silence()
}

func TestWhatLeavesTheSetButIsStillSubscribedIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	// A changed cluster asks for its endpoints under a new name; until it is warm the old one goes on under the old name.
	set := l.publish(cluster("c1", 2), endpoints("e2", 1), listener("l1", 1), routes("r1", 1, "c1"))
	m := c.expect(ClusterType, "c1")
	c.silence()
	c.subscribe(EndpointType, "e2")
	c.accept(EndpointType, "e2")
	c.ack(m)
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: EndpointType, ResourceNamesUnsubscribe: []string{"e1"}})
	l.untilAcked(set)
	c.silence()
}

func TestANameAskedForAgainIsSentAgain(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	c.subscribe(EndpointType, "e1")
	c.accept(EndpointType, "e1")
	c.silence()
}

func TestAProxyMayUnsubscribeANameOfWhichItGetsEverythingAnyway(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("c1", 1), cluster("c2", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType, "*", "c1")
	c.accept(ClusterType, "c1", "c2")
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType, ResourceNamesUnsubscribe: []string{"c1"}})
	c.accept(ClusterType, "c1")
	c.silence()
}

func TestAProxyThatComesBackWithEverythingIsSentNothingAndCountsAsCurrent(t *testing.T) {
	t.Parallel()
	l := start(t)
	set := l.publish(basic()...)
	c := l.connect("pod")
	have := func(typeURL, name string, names ...string) {
		c.send(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: typeURL, ResourceNamesSubscribe: names,
			InitialResourceVersions: map[string]string{name: set.Get(typeURL, name).Version},
		})
	}
	have(ClusterType, "c1")
	have(EndpointType, "e1", "e1")
	have(ListenerType, "l1")
	have(RouteType, "r1", "r1")
	l.untilAcked(set)
	c.silence()
}

func TestAProxyThatComesBackLosesWhatWasRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(listener("l1", 1))
	c := l.connect("pod")
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType, InitialResourceVersions: map[string]string{"gone": "1"}})
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ListenerType, InitialResourceVersions: map[string]string{"l1": "0", "old": "1"}})
	c.accept(ListenerType, "l1")
	c.accept(ListenerType, "-old")
	c.accept(ClusterType, "-gone")
	c.silence()
}

func TestClustersAreRemovedAloneAndOnlyAfterRoutesAndListenersAreAcknowledged(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("c1", 1), cluster("c2", 1), listener("l1", 1), routes("r1", 1, "c1"))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.accept(ClusterType, "c1", "c2")
	c.subscribe(ListenerType)
	c.accept(ListenerType, "l1")
	c.subscribe(RouteType, "r1")
	c.accept(RouteType, "r1")
	set := l.publish(cluster("c2", 1), cluster("c3", 1), listener("l1", 2), routes("r1", 2, "c2"))
	added := c.expect(ClusterType, "c3")
	changed := c.expect(ListenerType, "l1")
	rerouted := c.expect(RouteType, "r1")
	c.silence()
	c.ack(added)
	c.ack(changed)
	c.silence()
	c.ack(rerouted)
	c.accept(ClusterType, "-c1")
	l.untilAcked(set)
	c.silence()
}

func TestAnUnusedClusterLingersAndCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{})
		defer l.stopped()
		l.publish(append(basic(), cluster("c2", 1))...)
		c := l.connect("pod")
		defer c.close()
		c.subscribe(ClusterType)
		c.accept(ClusterType, "c1", "c2")
		c.subscribe(EndpointType, "e1")
		c.accept(EndpointType, "e1")
		c.subscribe(ListenerType)
		c.accept(ListenerType, "l1")
		c.subscribe(RouteType, "r1")
		c.accept(RouteType, "r1")
		synctest.Wait()
		begin := time.Now()
		set := l.publish(basic()...)
		if r := l.row(); r.AckedSet != set.Version {
			t.Errorf("not acknowledged: %+v", r)
		}
		time.Sleep(25 * time.Second)
		// Other changes neither shorten nor prolong it.
		l.publish(append(basic()[1:], cluster("c1", 2))...)
		c.accept(ClusterType, "c1")
		removal := c.expect(ClusterType, "-c2")
		if waited := time.Since(begin); waited != 30*time.Second {
			t.Errorf("removed after %v", waited)
		}
		if r := l.row(); r.AckedSet != r.SetVersion {
			t.Errorf("the removal itself counts as a change: %+v", r)
		}
		c.ack(removal)
	})
}

func TestARouteWaitsUntilTheClusterItNeedsIsAcknowledged(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	set := l.publish(append(basic()[:3], cluster("c2", 1), endpoints("e2", 1), routes("r1", 2, "c1", "c2"))...)
	added := c.expect(ClusterType, "c2")
	// Endpoints wait for nothing: the acknowledgement itself waits for them.
	c.subscribe(EndpointType, "e2")
	c.accept(EndpointType, "e2")
	c.silence()
	if n := l.row().Held; n != 1 {
		t.Errorf("%d held resources, want 1", n)
	}
	c.ack(added)
	c.accept(RouteType, "r1")
	l.untilAcked(set)
}

func TestAHeldRouteIsReleasedAfterFiveSecondsAndLaterOnesDoNotWaitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{})
		defer l.stopped()
		l.publish(basic()...)
		c := l.connect("pod")
		defer c.close()
		whole(c)
		begin := time.Now()
		l.publish(append(basic()[:3], cluster("c2", 1), routes("r1", 2, "c2"))...)
		c.expect(ClusterType, "c2") // and never replies
		time.Sleep(3 * time.Second)
		// Other changes must not prolong the wait.
		l.publish(append(basic()[:2], listener("l1", 2), cluster("c2", 1), routes("r1", 2, "c2"))...)
		c.accept(ListenerType, "l1")
		c.accept(RouteType, "r1")
		if waited := time.Since(begin); waited != holdLimit {
			t.Errorf("released after %v, want %v", waited, holdLimit)
		}
		begin = time.Now()
		l.publish(append(basic()[:2], listener("l1", 2), cluster("c2", 1), routes("r1", 3, "c2"))...)
		c.accept(RouteType, "r1")
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("the next change waited %v for a cluster that does not come", waited)
		}
	})
}

func TestClustersThatAreSlowToWarmDoNotKeepLaterOnesBack(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(cluster("c1", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.accept(ClusterType, "c1")
	l.publish(cluster("c1", 1), cluster("slow", 1))
	slow := c.expect(ClusterType, "slow")
	set := l.publish(cluster("c1", 2), cluster("slow", 1))
	quick := c.expect(ClusterType, "c1")
	c.silence()
	c.ack(slow)
	c.ack(quick)
	c.subscribe(ListenerType)
	c.accept(ListenerType)
	l.untilAcked(set)
}

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

func TestARefusalWithoutANameIsTracedOneByOne(t *testing.T) {
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
	// Back to what Envoy still has: sent all the same, for its book may be wrong.
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

// gone waits until no stream is left.
func (l *lab) gone() {
	l.t.Helper()
	for deadline := time.Now().Add(patience); len(l.cache.Streams()) > 0; {
		select {
		case <-l.cache.Changed():
		case <-time.After(time.Until(deadline)):
			l.t.Fatal("the stream stays in the table")
		}
	}
}

func TestComingBackToAnAcknowledgedSetDoesNotClaimItEarly(t *testing.T) {
	t.Parallel()
	l := start(t)
	a := l.publish(basic()...)
	c := l.connect("pod")
	whole(c)
	l.untilAcked(a)
	l.publish(cluster("c1", 1), endpoints("e1", 2), listener("l1", 1), routes("r1", 1, "c1"))
	b := c.expect(EndpointType, "e1")
	again := l.publish(basic()...)
	if r := l.row(); r.AckedSet == again.Version || r.SetVersion != again.Version {
		t.Errorf("the proxy runs something else, but the row says %+v", r)
	}
	c.ack(b)
	back := c.expect(EndpointType, "e1")
	if r := l.row(); r.AckedSet == again.Version {
		t.Errorf("the way back is not acknowledged, but the row says %+v", r)
	}
	c.ack(back)
	l.untilAcked(again)
}

func TestAProxyThatMovesToAnotherGroupGetsTheDifference(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publishTo("other", cluster("c1", 1), cluster("c2", 1), listener("l1", 1))
	l.publish(cluster("c1", 1), cluster("c3", 1), listener("l1", 1))
	c := l.connect("pod")
	c.subscribe(ClusterType)
	c.accept(ClusterType, "c1", "c3")
	c.subscribe(ListenerType)
	c.accept(ListenerType, "l1")
	l.groups["pod"] = "other"
	l.republish()
	c.accept(ClusterType, "c2")
	c.accept(ClusterType, "-c3")
	l.untilAcked(l.sets["other"])
	if g := l.row().Group; g != "other" {
		t.Errorf("group %q", g)
	}
	// Without a group it keeps what it has.
	delete(l.groups, "pod")
	l.publishTo("other", cluster("c9", 1))
	c.silence()
}

func TestWhatAProxyCallsItselfInMidStreamChangesNothing(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.groups["victim"] = "secret"
	l.publishTo("secret", cluster("theirs", 1), endpoints("x", 9))
	l.publish(cluster("mine", 1), endpoints("x", 1))
	c := l.connect("pod")
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ClusterType, Node: &corev3.Node{Id: "victim"}})
	c.accept(ClusterType, "mine")
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: EndpointType, Node: &corev3.Node{Id: "victim", Cluster: "secret"}, ResourceNamesSubscribe: []string{"x"}})
	m := c.accept(EndpointType, "x")
	if got, want := m.GetResources()[0].GetVersion(), l.sets["group"].Get(EndpointType, "x").Version; got != want {
		t.Errorf("version %s, want %s", got, want)
	}
	if r := l.row(); r.Group != "group" || r.Proxy.Claimed != "victim" || r.Proxy.ID != "pod" {
		t.Errorf("row %+v", r)
	}
	l.publishTo("secret", cluster("theirs", 2))
	c.silence()
}

func TestAProxyWithoutAGroupIsToldSoAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{})
		defer l.stopped()
		l.publish(basic()...)
		c := l.connect("stranger")
		defer c.close()
		c.subscribe(ClusterType)
		begin := time.Now()
		for range c.got {
			t.Error("a response for a stranger")
		}
		if err := c.err; status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "stranger") {
			t.Errorf("the stream ended with %v", err)
		}
		if waited := time.Since(begin); waited != 10*time.Second {
			t.Errorf("after %v", waited)
		}
	})
}

func TestAProxyWithoutAGroupIsServedAsSoonAsItHasOne(t *testing.T) {
	t.Parallel()
	l := start(t)
	l.publish(basic()...)
	c := l.connect("newcomer")
	c.subscribe(ClusterType)
	l.until("the stream is not there", func(r StreamState) bool { return r.Proxy.ID == "newcomer" && r.Group == "" })
	l.groups["newcomer"] = "group"
	l.republish()
	c.accept(ClusterType, "c1")
}

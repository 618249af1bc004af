package xds

import (
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

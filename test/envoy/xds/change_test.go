package xds

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// prompt is how long a change may take from Publish to the last acknowledgement. Something that stalls takes five seconds or more.
const prompt = time.Second

// step is how many requests pass between two changes.
const step = 30

func (w *world) promptly(m model) {
	w.t.Helper()
	if took := w.apply(m); took > prompt {
		w.t.Errorf("acknowledged after %v, want at most %v", took, prompt)
	}
}

func TestAChangedClusterWhoseEndpointsDidNotChangeDoesNotStall(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		port := backend(t, "a")
		w.start(one(to(target{"a", 1}), cluster{name: "a", port: port}))
		l := w.load("shop")
		for i := range 10 {
			w.promptly(one(to(target{"a", 1}), cluster{name: "a", port: port, breakers: uint32(i + 1)}))
			l.after(step)
		}
		l.none()
	})
}

func TestANewClusterWithEndpointsThatAreKnownIsUsedAtOnce(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		port := backend(t, "a")
		old := cluster{name: "c0", port: port}
		w.start(one(to(target{"c0", 1}), old))
		l := w.load("shop")
		for i := range 10 {
			next := cluster{name: fmt.Sprintf("c%d", i+1), port: port}
			w.promptly(one(to(target{next.name, 1}), next))
			l.after(step)
		}
		l.none()
	})
}

func TestAnUnknownEndpointNameKeepsNobodyWaiting(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		port := backend(t, "a")
		a := cluster{name: "a", port: port}
		w.start(one(to(target{"a", 1}), a))
		l := w.load("shop")
		b, empty := cluster{name: "b", port: port}, cluster{name: "empty", unanswered: true}
		w.promptly(one([]host{{"shop", []target{{"b", 1}}}, {"nobody", []target{{"empty", 1}}}}, a, b, empty))
		if status, body := w.get("nobody", "127.0.0.1"); status != http.StatusServiceUnavailable {
			t.Errorf("a cluster without endpoints answers %d %s", status, body)
		}
		l.after(step)
		l.none()
	})
}

func TestWeightsFlipWithoutLossAndHoldFromTheAcknowledgementOn(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		clusters := []cluster{{name: "a", port: backend(t, "a")}, {name: "b", port: backend(t, "b")}}
		flip := func(i int) model {
			return one(to(target{"a", uint32(i % 2)}, target{"b", uint32(1 - i%2)}), clusters...)
		}
		w.start(flip(0))
		l := w.load("shop")
		var longest time.Duration
		for i := range 30 {
			took := w.apply(flip(i + 1))
			longest = max(longest, took)
			// What was on its way at the time of the acknowledgement may still come from the old target.
			l.after(8)
			old := string("ab"[i%2^1])
			before := l.count(old)
			l.after(12)
			if n := l.count(old) - before; n > 0 {
				t.Errorf("flip %d: %d requests to the old target", i, n)
			}
		}
		t.Logf("longest time to the acknowledgement: %v", longest)
		if longest > prompt {
			t.Errorf("a flip took %v", longest)
		}
		l.none()
	})
}

func TestABackendIsSwapped(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		ports := []uint32{backend(t, "a"), backend(t, "b")}
		swap := func(i int) cluster {
			// Every third time the cluster changes in the same breath.
			return cluster{name: "c", port: ports[i%2], breakers: uint32(i / 3), http2: i%6 > 2}
		}
		w.start(one(to(target{"c", 1}), swap(0)))
		l := w.load("shop")
		for i := range 12 {
			w.promptly(one(to(target{"c", 1}), swap(i+1)))
			l.after(step)
		}
		l.none()
	})
}

func TestRouteClusterAndChainAppearAtOnce(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		a := cluster{name: "a", port: backend(t, "a")}
		old := one(to(target{"a", 1}), a)
		w.start(old)
		l := w.load("shop")
		for i := range 5 {
			b := cluster{name: fmt.Sprintf("b%d", i), port: backend(t, "b")}
			m := one(append(to(target{"a", 1}, target{b.name, 1}), host{"new", []target{{b.name, 1}}}), a, b)
			m.chains = append(m.chains, chain{ip: "127.0.0.2", routes: fmt.Sprintf("rds_new_%d", i), hosts: []host{{"new", []target{{b.name, 1}}}}})
			w.promptly(m)
			for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
				if status, body := w.get("new", ip); status != http.StatusOK || body != "b" {
					t.Errorf("after the acknowledgement %s answers %d %q", ip, status, body)
				}
			}
			l.after(step)
			w.promptly(old)
			l.after(step)
		}
		l.none()
	})
}

func TestAClusterIsRemovedWithItsRoute(t *testing.T) {
	onEachEnvoyWith(t, xds.Options{Linger: time.Millisecond}, func(t *testing.T, w *world) {
		a, b := cluster{name: "a", port: backend(t, "a")}, cluster{name: "b", port: backend(t, "b")}
		both := one(to(target{"a", 1}, target{"b", 1}), a, b)
		w.start(both)
		l := w.load("shop")
		for range 8 {
			w.promptly(one(to(target{"a", 1}), a))
			l.after(step)
			w.promptly(both)
			l.after(step)
		}
		if n := w.removed.Load(); n != 8 {
			t.Errorf("%d removals were sent, want 8", n)
		}
		l.none()
	})
}

func TestTheProtocolOfABackendChanges(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		port := backend(t, "a")
		w.start(one(to(target{"a", 1}), cluster{name: "a", port: port}))
		l := w.load("shop")
		for i := range 12 {
			w.promptly(one(to(target{"a", 1}), cluster{name: "a", port: port, http2: i%2 == 0}))
			l.after(step)
		}
		l.none()
	})
}

// The protocol is part of the names of clusters, route configurations and chains, so all of them are replaced at once while
// connections of the old chain are still open.
func TestTheProtocolOfAPortChanges(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		port := backend(t, "a")
		version := func(i int) model {
			name := fmt.Sprintf("cds_%d", i)
			return model{
				chains:   []chain{{ip: "127.0.0.1", routes: fmt.Sprintf("rds_%d", i), hosts: []host{{"shop", []target{{name, 1}}}}}},
				clusters: []cluster{{name: name, port: port, http2: i%2 == 1}},
			}
		}
		w.start(version(0))
		l := w.load("shop")
		for i := range 8 {
			w.promptly(version(i + 1))
			l.after(step)
		}
		l.none()
	})
}

func TestOnePoisonedClusterAmongFiveHundredCostsTheOthersNothing(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		port := backend(t, "a")
		a := cluster{name: "a", port: port}
		w.start(one(to(target{"a", 1}), a))
		l := w.load("shop")
		const n, culprit = 500, "c250"
		clusters := []cluster{a}
		hosts := to(target{"a", 1})
		for i := range n {
			c := cluster{name: fmt.Sprintf("c%d", i), port: port}
			c.poisoned = c.name == culprit
			clusters = append(clusters, c)
		}
		begin := time.Now()
		w.publish(one(hosts, clusters...))
		w.until("the culprit is not named", func(r xds.StreamState) bool { return len(r.Refused) == 1 && r.Refused[0].Name == culprit })
		state := w.cache.Streams()[0]
		t.Logf("named after %v: %s", time.Since(begin), state.Refused[0].Message)
		if !strings.Contains(state.Refused[0].Message, "not-an-address.example") {
			t.Errorf("not Envoy's own words: %s", state.Refused[0].Message)
		}
		// Routes to the others work within the second, though not one of them was sent alone.
		for _, c := range clusters {
			if !c.poisoned {
				hosts = append(hosts, host{c.name, []target{{c.name, 1}}})
			}
		}
		w.publish(one(hosts, clusters...))
		for i := 0; ; i++ {
			if status, _ := w.get("c499", "127.0.0.1"); status == http.StatusOK {
				break
			}
			if time.Since(begin) > prompt {
				t.Fatalf("the others are not there after %v", time.Since(begin))
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("the others serve after %v", time.Since(begin))
		for _, i := range []int{0, 100, 249, 251, 400} {
			if status, body := w.get(fmt.Sprintf("c%d", i), "127.0.0.1"); status != http.StatusOK {
				t.Errorf("c%d answers %d %s", i, status, body)
			}
		}
		for i := range clusters {
			clusters[i].poisoned = false
		}
		took := w.apply(one(append(hosts, host{culprit, []target{{culprit, 1}}}), clusters...))
		t.Logf("a good version is acknowledged after %v", took)
		if status, body := w.get(culprit, "127.0.0.1"); status != http.StatusOK {
			t.Errorf("the culprit answers %d %s after its repair", status, body)
		}
		l.after(step)
		l.none()
	})
}

func TestAServerThatComesBackSendsNothingAgain(t *testing.T) {
	onEachEnvoy(t, func(t *testing.T, w *world) {
		a, b := cluster{name: "a", port: backend(t, "a")}, cluster{name: "b", port: backend(t, "b")}
		w.start(one(to(target{"a", 1}), a, b))
		l := w.load("shop")
		for range 3 {
			set := w.set
			w.server.Stop()
			l.after(step)
			sent, responses := w.sent.Load(), w.responses.Load()
			w.serve()
			begin := time.Now()
			w.republish()
			w.until("the proxy does not come back", func(r xds.StreamState) bool { return r.AckedSet == set.Version })
			t.Logf("back after %v", time.Since(begin))
			l.after(step)
			if n, m := w.sent.Load()-sent, w.responses.Load()-responses; n != 0 || m != 0 {
				t.Errorf("%d resources in %d responses were sent to a proxy that had everything", n, m)
			}
		}
		// While the server was away a cluster changed and its endpoints did not.
		w.server.Stop()
		l.after(step)
		w.serve()
		w.promptlyAfterReturn(one(to(target{"b", 1}), a, cluster{name: "b", port: b.port, breakers: 7}))
		l.after(step)
		l.none()
	})
}

func (w *world) promptlyAfterReturn(m model) {
	w.t.Helper()
	// The proxy tries again within two seconds.
	if took := w.apply(m); took > prompt+2*time.Second {
		w.t.Errorf("acknowledged after %v", took)
	}
}

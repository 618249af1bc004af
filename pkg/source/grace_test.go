package source

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// graceWorld is a node "canary" that selects hash: new, its service, and a caller.
type graceWorld struct {
	t *testing.T
	s *Cluster
}

func newGraceWorld(t *testing.T) graceWorld {
	s := &Cluster{changed: make(chan struct{}, 1), status: make(chan struct{}, 1)}
	s.grace.changed = s.signal
	s.ready.Store(true)
	w := graceWorld{t, s}
	w.set("Mesh", `{metadata: {name: m, uid: m}, spec: {namespaceSelector: {}}}`)
	s.namespaces.set("ns", input.Namespace{Name: "ns"})
	w.selector("{hash: new}")
	w.set("VirtualService", `{metadata: {name: s, namespace: ns}, spec: {awsName: s.example.com, provider: {virtualNode: {virtualNodeRef: {name: canary}}}}}`)
	w.set("VirtualNode", `{metadata: {name: caller, namespace: ns}, spec: {backends: [{virtualService: {virtualServiceRef: {name: s}}}]}}`)
	w.pod("1", "new", true)
	w.pod("2", "new", true)
	w.pod("3", "old", true)
	return w
}

func (w graceWorld) set(kind, manifest string) {
	k := meshv1beta2.KindOf(kind)
	o := k.New()
	w.decode(manifest, o)
	w.s.own(*k).set(o.GetNamespace()+"/"+o.GetName(), o)
}

func (w graceWorld) decode(manifest string, into any) {
	w.t.Helper()
	if err := yaml.Unmarshal([]byte(manifest), into); err != nil {
		w.t.Fatal(err)
	}
}

func (w graceWorld) selector(labels string) {
	w.set("VirtualNode", `{metadata: {name: canary, namespace: ns, uid: c}, spec: {podSelector: {matchLabels: `+labels+`}, listeners: [{portMapping: {port: 80, protocol: http}}], serviceDiscovery: {dns: {hostname: canary.ns.svc.cluster.local}}}}`)
}

func (w graceWorld) pod(n, hash string, ready bool) {
	var p corev1.Pod
	w.decode(`{metadata: {name: p`+n+`, namespace: ns, uid: p`+n+`, labels: {hash: `+hash+`}}, status: {phase: Running, podIPs: [{ip: 10.0.0.`+n+`}]}}`, &p)
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	w.s.setPod("ns/p"+n, &p)
}

// endpoints are the last parts of the addresses that the caller gets for the canary.
func (w graceWorld) endpoints() string {
	w.t.Helper()
	r := (&compile.Compiler{}).Compile(w.s.Objects())
	var out []string
	for _, workload := range r.Model.Workloads {
		for _, b := range workload.Backends {
			for _, e := range b.Service.Ports[0].Routes[0].Targets[0].Destination.Endpoints.List {
				out = append(out, strings.TrimPrefix(e.Address, "10.0.0."))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestPodsOnTheHostNetwork are endpoints like others, though they have no proxy.
func TestPodsOnTheHostNetwork(t *testing.T) {
	t.Parallel()
	w := newGraceWorld(t)
	p := corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}, Status: corev1.PodStatus{
		Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.9"}}, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	p.Name, p.Namespace, p.UID, p.Labels = "p9", "ns", "p9", map[string]string{"hash": "new"}
	w.s.setPod("ns/p9", &p)
	if got := w.endpoints(); got != "1 2 9" {
		t.Errorf("endpoints %s, want 1 2 9", got)
	}
}

func TestGrace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about string
		edit  func(graceWorld)
		// now are the endpoints right after the edit, later 9 s and end 11 s after it.
		now, later, end string
	}{
		{"a selector that selects nothing keeps its endpoints for a while", func(w graceWorld) { w.selector("{hash: canary-hash}") }, "1 2", "1 2", ""},
		{"a selector that selects other ready pods switches at once", func(w graceWorld) { w.selector("{hash: old}") }, "3", "3", "3"},
		{"labels that leave the selector empty", func(w graceWorld) { w.pod("1", "x", true); w.pod("2", "x", true) }, "1 2", "1 2", ""},
		{"labels of one of two pods", func(w graceWorld) { w.pod("1", "x", true) }, "2", "2", "2"},
		{"a pod that turns unready leaves at once", func(w graceWorld) { w.selector("{hash: none}"); w.pod("1", "new", false) }, "2", "2", ""},
		{"a pod that goes leaves at once", func(w graceWorld) { w.selector("{hash: none}"); w.s.removePod("ns/p1") }, "2", "2", ""},
		{"unready pods alone are not held", func(w graceWorld) { w.pod("1", "new", false); w.pod("2", "new", false) }, "", "", ""},
		{"a pod that was not ready is not held", func(w graceWorld) { w.pod("1", "new", false); w.selector("{hash: none}") }, "2", "2", ""},
		{"a new pod ends it", func(w graceWorld) { w.selector("{hash: next}"); w.pod("4", "next", true) }, "4", "4", "4"},
		{"a new pod that is not ready does not", func(w graceWorld) { w.selector("{hash: next}"); w.pod("4", "next", false) }, "1 2", "1 2", ""},
		{"back again and away once more starts again", func(w graceWorld) {
			w.selector("{hash: none}")
			time.Sleep(5 * time.Second)
			w.selector("{hash: new}")
			w.selector("{hash: none}")
		}, "1 2", "1 2", ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newGraceWorld(t)
				if got := w.endpoints(); got != "1 2" {
					t.Fatalf("before the edit: %q", got)
				}
				c.edit(w)
				var got []string
				got = append(got, w.endpoints())
				time.Sleep(9 * time.Second)
				got = append(got, w.endpoints())
				select {
				case <-w.s.Changed():
				default:
				}
				time.Sleep(2 * time.Second)
				got = append(got, w.endpoints())
				if diff := cmp.Diff([]string{c.now, c.later, c.end}, got); diff != "" {
					t.Errorf("now, after 9 s, after 11 s (-want +got)\n%s", diff)
				}
				if got[1] != got[2] && len(w.s.Changed()) == 0 {
					t.Error("the end of the time was not told")
				}
			})
		})
	}
}

package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// A mesh of one node with two pods, in its third generation, which pass 7 saw first.
var (
	nodeID = input.AppMesh("VirtualNode", "ns", "n")
	epoch  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func given(problems []mesh.Problem, proxies map[string]ProxyState, stored ...meshv1beta2.Condition) Input {
	n := &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "n", Generation: 3}}
	n.Status.Conditions = stored
	w := &mesh.Workload{ID: mesh.WorkloadID{Mesh: "m", Name: "n_ns"}, Object: nodeID}
	g := &mesh.Group{ID: "g", Workload: w}
	return Input{
		Objects: &input.Objects{Config: []input.Object{n}},
		Result: &input.Result{
			Model: &mesh.Model{Workloads: []*mesh.Workload{w}, Groups: []*mesh.Group{g}, Proxies: []mesh.Proxy{
				{ID: "a", Namespace: "ns", Name: "pod-a", Group: "g", Counted: true},
				{ID: "b", Namespace: "ns", Name: "pod-b", Group: "g", Counted: true},
				{ID: "c", Namespace: "ns", Name: "pod-c", Group: "g"}, // terminating: does not count
			}},
			Problems: problems, Names: map[mesh.Object]input.Place{nodeID: {Mesh: "m", Name: "n_ns"}},
		},
		Introduced: func(mesh.Object) uint64 { return 7 },
		Proxies:    proxies,
	}
}

func TestConditionsTellTheTruth(t *testing.T) {
	t.Parallel()
	both := map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 7}}
	rejected := mesh.Problem{Object: nodeID, Severity: mesh.Rejected, Reason: "NameConflict", Path: "spec.awsName", Message: "taken"}
	part := mesh.Problem{Object: nodeID, Severity: mesh.Rejected, Partial: true, Reason: "InvalidConfiguration", Message: "a listener is left out"}
	missing := mesh.Problem{Object: nodeID, Severity: mesh.Unresolved, Partial: true, Reason: "VirtualServiceNotFound", Message: "gone"}
	adjusted := mesh.Problem{Object: nodeID, Severity: mesh.Adjusted, Reason: "Adjusted", Path: "spec.x", Message: "no effect"}
	wasActive := meshv1beta2.Condition{Type: "VirtualNodeActive", Status: "True"}
	for _, c := range []struct {
		name     string
		problems []mesh.Problem
		proxies  map[string]ProxyState
		stored   []meshv1beta2.Condition
		want     string // type=status/reason, by blanks
		message  string // part of the message of Programmed
	}{
		{"everything is well", nil, both, nil,
			"Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs Programmed=True/Programmed Ready=True/Ready VirtualNodeActive=True/", "2 of 2 proxies"},
		{"one proxy runs an older pass", nil, map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 6}}, nil,
			"Programmed=False/Pending Ready=False/Pending VirtualNodeActive=True/", "1 of 2 proxies"},
		{"nobody is connected", nil, nil, nil, "Programmed=False/Pending", "0 of 2 proxies"},
		{"a replica cannot be reached", nil, map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 9, Unknown: true}}, nil,
			"Programmed=Unknown/Unknown Ready=Unknown/Unknown", "1 of 2 proxies"},
		{"Envoy refuses", nil, map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 6, Rejected: "cluster x: bad"}}, nil,
			"Programmed=False/ProxyRejected", "pod ns/pod-b refuses cluster x: bad"},
		{"the object is refused as a whole", []mesh.Problem{rejected}, both, []meshv1beta2.Condition{wasActive},
			"Accepted=False/NameConflict Programmed=False/NotAccepted Ready=False/NameConflict VirtualNodeActive=False/NameConflict", "not served"},
		{"a part is left out", []mesh.Problem{part}, both, nil,
			"Accepted=False/InvalidConfiguration Programmed=True/Programmed Ready=False/InvalidConfiguration VirtualNodeActive=True/", ""},
		{"a reference dangles from the start", []mesh.Problem{missing}, both, nil,
			"Accepted=True/Accepted ResolvedRefs=False/VirtualServiceNotFound VirtualNodeActive=False/VirtualServiceNotFound", ""},
		{"a reference dangles later", []mesh.Problem{missing}, both, []meshv1beta2.Condition{wasActive},
			"ResolvedRefs=False/VirtualServiceNotFound VirtualNodeActive=True/", ""},
		{"a field has no effect", []mesh.Problem{adjusted}, both, nil, "Accepted=True/Adjusted Ready=True/Ready", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := new(Computer).Compute(given(c.problems, c.proxies, c.stored...))[0]
			for want := range strings.FieldsSeq(c.want) {
				kind, rest, _ := strings.Cut(want, "=")
				got := meshv1beta2.FindCondition(d.Conditions, kind)
				if got == nil || string(got.Status)+"/"+got.Reason != rest {
					t.Errorf("%s is %+v, want %s", kind, got, rest)
				} else if got.ObservedGeneration != 3 {
					t.Errorf("%s speaks of generation %d", kind, got.ObservedGeneration)
				}
			}
			if p := meshv1beta2.FindCondition(d.Conditions, "Programmed"); !strings.Contains(p.Message, c.message) {
				t.Errorf("Programmed says %q, want something with %q", p.Message, c.message)
			}
		})
	}
}

// TestARefusalIsShownToItsOwnersOnly: what a proxy of another namespace says does not appear in the status of this one's objects.
func TestARefusalIsShownToItsOwnersOnly(t *testing.T) {
	t.Parallel()
	in := given(nil, map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 6, Rejected: "cluster x: words of a stranger"}})
	in.Result.Model.Proxies[1].Namespace = "evil"
	got := meshv1beta2.FindCondition(new(Computer).Compute(in)[0].Conditions, meshv1beta2.ConditionProgrammed)
	const want = "False/ProxyRejected 1 of 2 proxies run this generation; 1 proxies of other namespaces refuse their configuration"
	if text := string(got.Status) + "/" + got.Reason + " " + got.Message; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestInjectedNamesPods(t *testing.T) {
	t.Parallel()
	pods := []*input.Pod{{Name: "p1"}, {Name: "p2"}}
	outside := []input.Outsider{{Pod: pods[0], Object: nodeID}}
	refused := []input.Refused{{Pod: pods[0], Object: nodeID, Ports: []uint32{8080, 9090}}, {Pod: pods[1], Object: nodeID, Ports: []uint32{8080}}}
	for _, c := range []struct {
		name    string
		outside []input.Outsider
		refused []input.Refused
		want    string
	}{
		{"all is well", nil, nil, "True/Injected "},
		{"a pod is outside", outside, nil, "False/PodsOutside pods that run without a proxy: p1 (1 in all); restart them: aftermesh restart -n ns --outside"},
		{"probes are refused", nil, refused, "False/ProbesRefused pods whose probes or scrapes ask, in clear text, a port whose listener is STRICT now and refuses them: " +
			"p1 (8080, 9090), p2 (8080) (2 in all); restart them: aftermesh restart -n ns --outdated"},
		{"a pod outside is worse", outside, refused, "False/PodsOutside pods that run without a proxy: p1 (1 in all); restart them: aftermesh restart -n ns --outside"},
	} {
		in := given(nil, nil)
		in.Result.Outside, in.Result.Refused = c.outside, c.refused
		got := meshv1beta2.FindCondition(new(Computer).Compute(in)[0].Conditions, meshv1beta2.ConditionInjected)
		if text := string(got.Status) + "/" + got.Reason + " " + got.Message; text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

func TestMergeChangesWhatDiffersOnly(t *testing.T) {
	t.Parallel()
	all := map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 9}}
	foreign := meshv1beta2.Condition{Type: "Foreign", Status: "True"}
	first, change := Merge(new(Computer).Compute(given(nil, all, foreign))[0], epoch)
	if change != Flipped {
		t.Errorf("the first status is a change of kind %v", change)
	}
	n, ok := first.(*meshv1beta2.VirtualNode)
	if !ok || meshv1beta2.FindCondition(n.Status.Conditions, "Foreign") == nil {
		t.Fatal("a condition of somebody else is gone")
	}
	if n.Status.Proxies != "2/2" {
		t.Errorf("proxies %q, want 2/2", n.Status.Proxies)
	}
	if got := *n.Status.VirtualNodeARN; got != "arn:local:appmesh:local:000000000000:mesh/m/virtualNode/n_ns" {
		t.Errorf("ARN %q", got)
	}
	again := new(Computer).Compute(given(nil, all, n.Status.Conditions...))[0]
	again.Object = n
	if _, change := Merge(again, epoch.Add(time.Hour)); change != None {
		t.Errorf("an equal status is a change of kind %v", change)
	}
	lower := new(Computer).Compute(given(nil, map[string]ProxyState{"a": {Acked: 9}}, n.Status.Conditions...))[0]
	lower.Object = n
	next, change := Merge(lower, epoch.Add(time.Hour))
	if change != Lowered {
		t.Errorf("a lost proxy is a change of kind %v", change)
	}
	if got := *next.Common().Proxies; got != "1/2" {
		t.Errorf("proxies %q, want 1/2", got)
	}
	conditions := *next.Common().Conditions
	if at := meshv1beta2.FindCondition(conditions, "Programmed").LastTransitionTime; !at.Equal(&metav1.Time{Time: epoch.Add(time.Hour)}) {
		t.Errorf("Programmed flipped, its transition time is %v", at)
	}
	if at := meshv1beta2.FindCondition(conditions, "Accepted").LastTransitionTime; !at.Equal(&metav1.Time{Time: epoch}) {
		t.Errorf("Accepted did not flip, its transition time is %v", at)
	}
}

func TestARepeatedComputationKeepsItsStatusesUntilSomethingMoves(t *testing.T) {
	t.Parallel()
	var c Computer
	in := given(nil, map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 9}})
	first := c.Compute(in)[0]
	if again := c.Compute(in)[0]; again != first {
		t.Error("nothing moved, but the status was recreated")
	}
	for name, change := range map[string]func(*Input){
		"a proxy falls back": func(in *Input) { in.Proxies = map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 6}} },
		"a new generation":   func(in *Input) { in.Introduced = func(mesh.Object) uint64 { return 10 } },
		"a problem": func(in *Input) {
			in.Result.Problems = []mesh.Problem{{Object: nodeID, Severity: mesh.Unresolved, Reason: "X"}}
		},
		"another name": func(in *Input) { in.Result.Names = map[mesh.Object]input.Place{nodeID: {Mesh: "m", Name: "other"}} },
		"the object was written": func(in *Input) {
			in.Objects = in.Objects.Replace(func(o meshv1beta2.Object) meshv1beta2.Object { return meshv1beta2.WithSpec(o, o) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c Computer
			in := given(nil, map[string]ProxyState{"a": {Acked: 9}, "b": {Acked: 9}})
			before := c.Compute(in)[0]
			change(&in)
			got, want := c.Compute(in)[0], new(Computer).Compute(in)[0]
			if got == before {
				t.Error("the status was not recreated")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("it differs from a fresh computation (-want +got):\n%s", diff)
			}
		})
	}
}

package lifetime_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	appsv1 "k8s.io/api/apps/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// nodeWith is a VirtualNode of the given generation with the given listeners.
func nodeWith(name string, generation int, listeners string) string {
	return fmt.Sprintf(`{kind: VirtualNode, metadata: {name: %s, namespace: ns, uid: %s, generation: %d}, spec: {%s, listeners: [%s], serviceDiscovery: {dns: {hostname: %s.example.com}}}}`,
		name, name, generation, ref, listeners, name)
}

func listener(port int) string {
	return fmt.Sprintf("{portMapping: {port: %d, protocol: http}}", port)
}

// routerTo is a VirtualRouter of the given generation whose only route matches and leads as given.
func routerTo(generation int, match, targets string) string {
	return fmt.Sprintf(`{kind: VirtualRouter, metadata: {name: r, namespace: ns, uid: r, generation: %d}, spec: {%s, listeners: [%s], routes: [{name: x, httpRoute: {match: {%s}, action: {weightedTargets: [%s]}}}]}}`,
		generation, ref, listener(80), match, targets)
}

func to(node string, weight int) string {
	return fmt.Sprintf("{virtualNodeRef: {name: %s}, weight: %d}", node, weight)
}

// TestMemory follows objects through edits. A step is a set of objects, or "restart", after which only revisions are known.
func TestMemory(t *testing.T) {
	t.Parallel()
	const all = "prefix: /"
	a, b := nodeWith("a", 1, listener(8080)), nodeWith("b", 1, listener(8080))
	restart := []string{"restart"}
	for _, c := range []struct {
		about string
		steps [][]string
		// want has, per step, what is kept, as "object@generation", and what is at fault.
		want []string
	}{
		{"a good update is served", [][]string{{a, b, routerTo(1, all, to("a", 1))}, {a, b, routerTo(2, all, to("b", 1))}}, []string{"", ""}},
		{"a bad update leaves the accepted one until what it names is there",
			[][]string{{a, routerTo(1, all, to("a", 1))}, {a, routerTo(2, all, to("b", 1))}, {a, routerTo(3, all, to("c", 1))}, {a, nodeWith("c", 1, listener(80)), routerTo(3, all, to("c", 1))}},
			[]string{"", "r@1 VirtualNodeNotFound", "r@1 VirtualNodeNotFound", ""}},
		{"a regex that cannot be compiled counts as a bad update",
			[][]string{{a, routerTo(1, all, to("a", 1))}, {a, routerTo(2, `path: {regex: "("}`, to("a", 1))}}, []string{"", "r@1 InvalidConfiguration"}},
		{"through a restart", [][]string{{a, routerTo(1, all, to("a", 1))}, {a, routerTo(2, all, to("b", 1))}, restart, {a, routerTo(2, all, to("b", 1))}, {a, b, routerTo(2, all, to("b", 1))}},
			[]string{"", "r@1 VirtualNodeNotFound", "", "r@1 VirtualNodeNotFound", ""}},
		{"a referent that vanishes leaves the object as it is, and edits have effect",
			[][]string{{a, b, routerTo(1, all, to("a", 1)+", "+to("b", 1))}, {a, routerTo(1, all, to("a", 1)+", "+to("b", 1))}, {a, routerTo(2, all, to("a", 1)+", "+to("b", 0))}},
			[]string{"", "VirtualNodeNotFound", "VirtualNodeNotFound"}},
		{"after such an edit a worse one leaves it",
			[][]string{{a, b, routerTo(1, all, to("a", 1)+", "+to("b", 1))}, {a, routerTo(2, all, to("a", 1)+", "+to("b", 0))}, {a, routerTo(3, all, to("c", 1)+", "+to("b", 0))}},
			[]string{"", "VirtualNodeNotFound", "r@2 VirtualNodeNotFound×2"}},
		{"an object that never was good has nothing to fall back to",
			[][]string{{routerTo(1, all, to("a", 1))}, {routerTo(2, all, to("b", 1))}}, []string{"VirtualNodeNotFound", "VirtualNodeNotFound"}},
		{"an object recreated is another one",
			[][]string{{a, routerTo(1, all, to("a", 1))}, {a, strings.Replace(routerTo(2, all, to("b", 1)), "uid: r", "uid: r2", 1)}}, []string{"", "VirtualNodeNotFound"}},
		{"what relies on a kept object's new form is kept with it",
			[][]string{
				{a, routerTo(1, all, to("a", 1))},
				{nodeWith("a", 2, listener(9090)+", "+listener(9090)), routerTo(2, all, "{virtualNodeRef: {name: a}, port: 9090, weight: 1}")},
			}, []string{"", "a@1 r@1 InvalidConfiguration ListenerMismatch"}},
		{"a warning is no fault", [][]string{{a, routerTo(1, all, to("a", 1))}, {a, routerTo(2, "prefix: x", to("a", 1))}}, []string{"", ""}},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			memory, compiler := lifetime.Memory{}, compile.Compiler{}
			var last *input.Result
			var stored []meshv1beta2.Object
			for i, step := range c.steps {
				if step[0] == "restart" {
					memory, compiler = lifetime.Memory{}, compile.Compiler{}
					continue
				}
				o := read(t, append([]string{selecting}, step...)...)
				o.Accepted = stored
				o = memory.Objects(o)
				last = compiler.Compile(o)
				memory.Note(o, last)
				stored = keptOf(t, o, last)
				if got := outcome(last); got != c.want[i] {
					t.Errorf("step %d: got %q, want %q", i, got, c.want[i])
				}
			}
		})
	}
}

// TestCertificateOfABadUpdate: a listener that begins to encrypt is at fault until its certificate is there. It must be asked for although
// the node is served as it was.
func TestCertificateOfABadUpdate(t *testing.T) {
	t.Parallel()
	const encrypted = `{portMapping: {port: 8080, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "arn:x"}}}}`
	memory, compiler := lifetime.Memory{}, compile.Compiler{}
	leaves := map[mesh.Object]input.KeyPair{}
	for i, step := range []struct{ node, want string }{
		{nodeWith("a", 1, listener(8080)), ""},
		{nodeWith("a", 2, encrypted), "a@1 TLSMaterialUnavailable"},
		{nodeWith("a", 2, encrypted), ""},
	} {
		o := read(t, selecting, step.node)
		o.Certificates.Root, o.Certificates.Leaves = []byte("root"), leaves
		o = memory.Objects(o)
		r := compiler.Compile(o)
		memory.Note(o, r)
		if got := outcome(r); got != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
		for _, c := range r.Certificates {
			leaves[c.Object] = input.KeyPair{Chain: []byte("chain"), Key: []byte("key")}
		}
	}
}

// keptOf returns what the leader stores, as it is read again.
func keptOf(t *testing.T, o *input.Objects, r *input.Result) []meshv1beta2.Object {
	t.Helper()
	var out []meshv1beta2.Object
	for _, a := range o.Accepted {
		if r.Kept[input.ID(a)] == 0 {
			continue
		}
		revision, err := lifetime.Revision(a, "system")
		if err != nil {
			t.Fatal(err)
		}
		parsed := lifetime.ParseRevision(revision, "system")
		if parsed.Accepted == nil {
			t.Fatalf("%s cannot be read again", revision.Name)
		}
		out = append(out, parsed.Accepted)
	}
	return out
}

func outcome(r *input.Result) string {
	var parts []string
	for id, generation := range r.Kept {
		parts = append(parts, fmt.Sprintf("%s@%d", id.Name, generation))
	}
	slices.Sort(parts)
	count := map[string]int{}
	for _, p := range r.Problems {
		if p.Severity != mesh.Adjusted {
			count[p.Reason]++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(count)) {
		if n := count[reason]; n > 1 {
			reason = fmt.Sprintf("%s×%d", reason, n)
		}
		parts = append(parts, reason)
	}
	return strings.Join(parts, " ")
}

// TestRestartWithoutRevision: an object whose referent vanished before a restart was accepted, as its status says; the next bad
// update must not be served.
func TestRestartWithoutRevision(t *testing.T) {
	t.Parallel()
	router := routerTo(1, "prefix: /", to("a", 1)+", "+to("b", 1))
	for status, want := range map[string]string{
		`, status: {conditions: [{type: VirtualRouterActive, status: "True"}, {type: Accepted, status: "True", observedGeneration: 1}]}}`:  "r@1 VirtualNodeNotFound×2",
		`, status: {conditions: [{type: VirtualRouterActive, status: "False"}, {type: Accepted, status: "True", observedGeneration: 1}]}}`: "VirtualNodeNotFound×2",
		`}`: "VirtualNodeNotFound×2",
	} {
		var memory lifetime.Memory
		var compiler compile.Compiler
		var r *input.Result
		for _, manifest := range []string{strings.TrimSuffix(router, "}") + status, routerTo(2, "prefix: /", to("c", 1)+", "+to("b", 1))} {
			o := memory.Objects(read(t, selecting, nodeWith("a", 1, listener(8080)), manifest))
			r = compiler.Compile(o)
			memory.Note(o, r)
		}
		if got := outcome(r); got != want {
			t.Errorf("with status %s: got %q, want %q", status, got, want)
		}
	}
}

// TestRevision: every kind survives being stored.
func TestRevision(t *testing.T) {
	t.Parallel()
	for _, manifest := range []string{aMesh, aNode, aRouter, aService, aGateway, aTo,
		`{kind: Route, metadata: {name: x, namespace: ns, uid: x, labels: {a: b}}, spec: {virtualRouterRef: {name: r}}}`,
		`{kind: BackendGroup, metadata: {name: x, namespace: ns, uid: x}, spec: {virtualservices: [{name: s}]}}`,
	} {
		for o := range input.All[meshv1beta2.Object](read(t, manifest)) {
			o.SetGeneration(7)
			revision, err := lifetime.Revision(o, "system")
			if err != nil {
				t.Fatal(err)
			}
			back := lifetime.ParseRevision(revision, "system").Accepted
			if back == nil {
				t.Fatalf("%s cannot be read again", manifest)
			}
			back.GetObjectKind().SetGroupVersionKind(o.GetObjectKind().GroupVersionKind())
			o.SetFinalizers(nil)
			o.SetLabels(nil)
			if diff := cmp.Diff(o, back); diff != "" {
				t.Errorf("(-stored +read)\n%s", diff)
			}
			if want := map[bool]string{true: "system", false: "ns"}[o.Common().Kind == "Mesh"]; revision.Namespace != want {
				t.Errorf("%s is stored in %q", manifest, revision.Namespace)
			}
		}
	}
	if got := lifetime.ParseRevision(&appsv1.ControllerRevision{}, "system"); got.Accepted != nil {
		t.Error("a revision of nothing is read as something")
	}
}

// TestAForgedRevisionIsAsGoodAsNone: what the operator would not have written is not served.
func TestAForgedRevisionIsAsGoodAsNone(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(r *appsv1.ControllerRevision){
		"in another namespace":                func(r *appsv1.ControllerRevision) { r.Namespace = "evil" },
		"in the operator's namespace":         func(r *appsv1.ControllerRevision) { r.Namespace = "system" },
		"under another name":                  func(r *appsv1.ControllerRevision) { r.Name = "mine" },
		"of another revision":                 func(r *appsv1.ControllerRevision) { r.Revision++ },
		"owned by nobody":                     func(r *appsv1.ControllerRevision) { r.OwnerReferences = nil },
		"owned by an object of another uid":   func(r *appsv1.ControllerRevision) { r.OwnerReferences[0].UID = "y" },
		"owned by an object of another name":  func(r *appsv1.ControllerRevision) { r.OwnerReferences[0].Name = "y" },
		"owned by an object of another kind":  func(r *appsv1.ControllerRevision) { r.OwnerReferences[0].Kind = "VirtualRouter" },
		"owned by an object of another group": func(r *appsv1.ControllerRevision) { r.OwnerReferences[0].APIVersion = "apps/v1" },
		"owned by one more object": func(r *appsv1.ControllerRevision) {
			r.OwnerReferences = append(r.OwnerReferences, r.OwnerReferences[0])
		},
		"with the object of another namespace": func(r *appsv1.ControllerRevision) {
			r.Data.Raw = []byte(strings.Replace(string(r.Data.Raw), `"ns"`, `"bank"`, 1))
		},
		"with a Mesh, outside of the operator's": func(r *appsv1.ControllerRevision) {
			r.Labels[lifetime.LabelAccepted], r.OwnerReferences[0].Kind = "Mesh", "Mesh"
		},
	} {
		for o := range input.All[meshv1beta2.Object](read(t, aNode)) {
			o.SetGeneration(7)
			r, err := lifetime.Revision(o, "system")
			if err != nil {
				t.Fatal(err)
			}
			if lifetime.ParseRevision(r, "system").Accepted == nil {
				t.Fatal("an honest one is not read")
			}
			forge(r)
			if got := lifetime.ParseRevision(r, "system").Accepted; got != nil {
				t.Errorf("%s: %s/%s is read", name, got.GetNamespace(), got.GetName())
			}
		}
	}
}

package lifetime_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Short names of what many rows need.
const (
	res   = `"finalizers.appmesh.k8s.aws/aws-appmesh-resources"`
	mem   = `"finalizers.appmesh.k8s.aws/mesh-members"`
	gwm   = `"finalizers.appmesh.k8s.aws/virtualgateway-members"`
	cloud = `"finalizers.appmesh.k8s.aws/aws-cloudmap-resources"`

	gone = `deletionTimestamp: "2026-01-01T00:00:00Z"`
	ref  = `meshRef: {name: m, uid: m}`
)

// The living world: t → s → r → a.
const (
	aMesh    = `{kind: Mesh, metadata: {name: m, uid: m, finalizers: [` + mem + `, ` + res + `]}}`
	aNode    = `{kind: VirtualNode, metadata: {name: a, namespace: ns, uid: a, finalizers: [` + res + `]}, spec: {` + ref + `, awsName: a_ns}}`
	aRouter  = `{kind: VirtualRouter, metadata: {name: r, namespace: ns, uid: r, finalizers: [` + res + `]}, spec: {` + ref + `, ` + toNode + `}}`
	toNode   = `routes: [{name: x, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}}}]`
	aService = `{kind: VirtualService, metadata: {name: s, namespace: ns, uid: s, finalizers: [` + res + `]}, spec: {` + ref + `, provider: {virtualRouter: {virtualRouterRef: {name: r}}}}}`
	aGateway = `{kind: VirtualGateway, metadata: {name: g, namespace: ns, uid: g, finalizers: [` + gwm + `, ` + res + `]}, spec: {` + ref + `}}`
	aTo      = `{kind: GatewayRoute, metadata: {name: t, namespace: ns, uid: t, finalizers: [` + res + `]}, spec: {` + ref + `, virtualGatewayRef: {name: g, uid: g}, httpRoute: {match: {}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}}}`
)

// deleted is a manifest's object on its way out.
func deleted(manifest string) string {
	return strings.Replace(manifest, "metadata: {", "metadata: {"+gone+", ", 1)
}

// elsewhere is a manifest's object in another namespace, with its reference replaced.
func elsewhere(manifest, reference, by string) string {
	return strings.Replace(strings.Replace(manifest, "namespace: ns", "namespace: evil", 1), reference, by, 1)
}

func TestPlans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about   string
		objects []string
		// want has one line per object: what is added (+), released (-), released without proxies (~) and waited for (!).
		want []string
	}{
		{"living objects that have theirs need nothing", []string{aMesh, aNode, aRouter, aService, aGateway, aTo}, nil},
		{"new objects get the finalizers of their kind, members first", []string{
			`{kind: Mesh, metadata: {name: m}}`, `{kind: VirtualNode, metadata: {name: a}}`, `{kind: VirtualService, metadata: {name: a}}`,
			`{kind: VirtualRouter, metadata: {name: a}}`, `{kind: VirtualGateway, metadata: {name: a}}`, `{kind: GatewayRoute, metadata: {name: a}}`,
			`{kind: BackendGroup, metadata: {name: a}}`, `{kind: Route, metadata: {name: a}}`,
		}, []string{
			"Mesh m +mesh-members +aws-appmesh-resources", "VirtualNode a +aws-appmesh-resources", "VirtualService a +aws-appmesh-resources",
			"VirtualRouter a +aws-appmesh-resources", "VirtualGateway a +virtualgateway-members +aws-appmesh-resources", "GatewayRoute a +aws-appmesh-resources",
		}},
		{"the finalizer for Cloud Map goes, also from living objects", []string{strings.Replace(aNode, res, res+", "+cloud, 1)},
			[]string{"VirtualNode ns/a -aws-cloudmap-resources"}},
		{"an unused object leaves", []string{aMesh, deleted(aNode)}, []string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"nothing is added to an object that goes", []string{aMesh, `{kind: VirtualNode, metadata: {name: a, ` + gone + `, finalizers: [x/y]}}`}, nil},
		{"a live route keeps its node", []string{aMesh, deleted(aNode), aRouter},
			[]string{"VirtualNode ns/a !VirtualNode: PendingReferencesDeletion: VirtualRouter ns/r"}},
		{"a route in a Route object keeps the node for its router", []string{aMesh, deleted(aNode), strings.Replace(aRouter, toNode, "routes: []", 1),
			`{kind: Route, metadata: {name: x, namespace: ns}, spec: {virtualRouterRef: {name: r}, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}}}}`},
			[]string{"VirtualNode ns/a !VirtualNode: PendingReferencesDeletion: VirtualRouter ns/r"}},
		{"a Route without its router keeps nothing", []string{aMesh, deleted(aNode),
			`{kind: Route, metadata: {name: x, namespace: ns}, spec: {virtualRouterRef: {name: r}, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}}}}`},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"a provider is kept by its service", []string{aMesh, deleted(aRouter), aService},
			[]string{"VirtualRouter ns/r !VirtualRouter: PendingReferencesDeletion: VirtualService ns/s"}},
		{"a provider node is kept by its service, named by ARN", []string{aMesh, deleted(aNode), strings.Replace(aService, "virtualRouter: {virtualRouterRef: {name: r}}", `virtualNode: {virtualNodeARN: "arn:aws:appmesh:eu-west-1:1:mesh/m/virtualNode/a_ns"}`, 1)},
			[]string{"VirtualNode ns/a !VirtualNode: PendingReferencesDeletion: VirtualService ns/s"}},
		{"a target is kept by its gateway route", []string{aMesh, deleted(aService), aTo, aGateway},
			[]string{"VirtualService ns/s !VirtualService: PendingReferencesDeletion: GatewayRoute ns/t"}},
		{"being a backend keeps nothing", []string{aMesh, deleted(aService),
			`{kind: VirtualNode, metadata: {name: b, namespace: ns, finalizers: [` + res + `]}, spec: {` + ref + `, backends: [{virtualService: {virtualServiceRef: {name: s}}}]}}`},
			[]string{"VirtualService ns/s ~aws-appmesh-resources"}},
		{"referrers that go too keep nothing", []string{aMesh, deleted(aNode), deleted(aRouter), deleted(aService), deleted(aTo), aGateway},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources", "VirtualService ns/s ~aws-appmesh-resources", "VirtualRouter ns/r ~aws-appmesh-resources", "GatewayRoute ns/t ~aws-appmesh-resources"}},
		{"a referrer that is itself kept needs what it refers to", []string{aMesh, deleted(aNode), deleted(aRouter), aService},
			[]string{"VirtualNode ns/a !VirtualNode: PendingReferencesDeletion: VirtualRouter ns/r", "VirtualRouter ns/r !VirtualRouter: PendingReferencesDeletion: VirtualService ns/s"}},
		{"a referrer of another mesh keeps nothing", []string{aMesh, deleted(aNode), strings.Replace(aRouter, "uid: m}", "uid: other}", 1)},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"a Mesh waits for its members, of whatever state", []string{deleted(aMesh), deleted(aNode), aGateway, aTo,
			`{kind: BackendGroup, metadata: {name: b}, spec: {` + ref + `}}`},
			[]string{"Mesh m !mesh-members: PendingMembersDeletion: virtualNode: 1, virtualGateway: 1, gatewayRoute: 1", "VirtualNode ns/a ~aws-appmesh-resources"}},
		{"a Mesh of the same name with another UID has other members", []string{deleted(strings.Replace(aMesh, "uid: m", "uid: n", 1)), aNode},
			[]string{"Mesh m -mesh-members ~aws-appmesh-resources"}},
		{"a backend group is no member", []string{deleted(aMesh), `{kind: BackendGroup, metadata: {name: b}, spec: {` + ref + `}}`},
			[]string{"Mesh m -mesh-members ~aws-appmesh-resources"}},
		{"a gateway waits for its routes, of whatever state", []string{aMesh, deleted(aGateway), deleted(aTo)},
			[]string{"VirtualGateway ns/g !virtualgateway-members: PendingMembersDeletion: gatewayRoute: 1", "GatewayRoute ns/t ~aws-appmesh-resources"}},
		{"a gateway without routes leaves", []string{aMesh, deleted(aGateway)}, []string{"VirtualGateway ns/g -virtualgateway-members ~aws-appmesh-resources"}},
		{"without its mesh nothing is kept", []string{deleted(aNode), aRouter, deleted(aGateway), aTo},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources", "VirtualGateway ns/g -virtualgateway-members ~aws-appmesh-resources"}},
		{"an object that never joined a mesh leaves", []string{aMesh, strings.Replace(deleted(aNode), ref+", ", "", 1), aRouter},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"what waits for a stranger alone gives no event", []string{aMesh, strings.Replace(deleted(aNode), res, `"x/y"`, 1), aRouter}, nil},
		{"a router of another namespace keeps nothing", []string{aMesh, deleted(aNode), elsewhere(aRouter, "{name: a", "{namespace: ns, name: a")},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"a Route of another namespace keeps nothing", []string{aMesh, deleted(aNode), elsewhere(strings.Replace(aRouter, toNode, "routes: []", 1), "", ""),
			`{kind: Route, metadata: {name: x, namespace: evil}, spec: {virtualRouterRef: {name: r}, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {namespace: ns, name: a}, weight: 1}]}}}}`},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"a service of another namespace keeps no router", []string{aMesh, deleted(aRouter), elsewhere(aService, "{name: r", "{namespace: ns, name: r")},
			[]string{"VirtualRouter ns/r ~aws-appmesh-resources"}},
		{"a service of another namespace keeps no node that it names by ARN", []string{aMesh, deleted(aNode), elsewhere(aService,
			"virtualRouter: {virtualRouterRef: {name: r}}", `virtualNode: {virtualNodeARN: "arn:aws:appmesh:eu-west-1:1:mesh/m/virtualNode/a_ns"}`)},
			[]string{"VirtualNode ns/a ~aws-appmesh-resources"}},
		{"a gateway route of another namespace keeps no service", []string{aMesh, deleted(aService), elsewhere(aTo, "{name: s", "{namespace: ns, name: s")},
			[]string{"VirtualService ns/s ~aws-appmesh-resources"}},
		{"a gateway route of another namespace keeps no gateway", []string{aMesh, deleted(aGateway), elsewhere(aTo, "{name: g", "{namespace: ns, name: g")},
			[]string{"VirtualGateway ns/g -virtualgateway-members ~aws-appmesh-resources"}},
		{"a name that another namespace took keeps nothing from its own", []string{aMesh, deleted(aNode), aRouter, elsewhere(aNode, "", "")},
			[]string{"VirtualNode ns/a !VirtualNode: PendingReferencesDeletion: VirtualRouter ns/r"}},
		{"the finalizer for Cloud Map does not wait", []string{aMesh, strings.Replace(deleted(aNode), res, res+", "+cloud, 1), aRouter},
			[]string{"VirtualNode ns/a -aws-cloudmap-resources !VirtualNode: PendingReferencesDeletion: VirtualRouter ns/r"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, p := range lifetime.Plans(read(t, c.objects...)) {
				got = append(got, describe(p))
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// describe writes a plan in a line, with what an event's message begins or ends with left out.
func describe(p lifetime.Plan) string {
	s := p.ID.String()
	for _, part := range []struct {
		mark string
		list []string
	}{{" +", p.Add}, {" -", p.Release}, {" ~", p.Leave}} {
		for _, f := range part.list {
			s += part.mark + strings.TrimPrefix(f, "finalizers.appmesh.k8s.aws/")
		}
	}
	if h := p.Hold; h != nil {
		words := h.Message
		if _, after, ok := strings.Cut(words, "delete them first; "); ok {
			words = after
		} else if _, after, ok := strings.Cut(words, "by: "); ok {
			words, _, _ = strings.Cut(after, ";")
		}
		s += " !" + h.Recorder + ": " + h.Reason + ": " + words
	}
	return s
}

// TestServe: what leaves is not served; what is kept is.
func TestServe(t *testing.T) {
	t.Parallel()
	served := func(manifests ...string) []mesh.Object {
		var out []mesh.Object
		for o := range input.All[meshv1beta2.Object](lifetime.Serve(read(t, manifests...))) {
			out = append(out, input.ID(o))
		}
		return out
	}
	node, router := input.AppMesh("VirtualNode", "ns", "a"), input.AppMesh("VirtualRouter", "ns", "r")
	m := input.AppMesh("Mesh", "", "m")
	for _, c := range []struct {
		about   string
		objects []string
		want    []mesh.Object
	}{
		{"living objects", []string{aMesh, aNode, aRouter}, []mesh.Object{m, node, router}},
		{"a node in use stays", []string{aMesh, deleted(aNode), aRouter}, []mesh.Object{m, node, router}},
		{"a node that nobody uses is out", []string{aMesh, deleted(aNode)}, []mesh.Object{m}},
		{"all at once", []string{deleted(aMesh), deleted(aNode), deleted(aRouter)}, []mesh.Object{m}},
		{"a mesh without members is out", []string{deleted(aMesh)}, nil},
	} {
		if diff := cmp.Diff(c.want, served(c.objects...)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.about, diff)
		}
	}
}

func TestPlannedFinalizers(t *testing.T) {
	t.Parallel()
	node := strings.Replace(deleted(aNode), res, `"x/first", `+cloud+`, `+res+`, "x/last"`, 1)
	p := lifetime.Plans(read(t, aMesh, node))[0]
	for left, want := range map[bool][]string{
		true:  {"x/first", "x/last"},
		false: {"x/first", meshv1beta2.FinalizerResources, "x/last"},
	} {
		if diff := cmp.Diff(want, p.Finalizers(left)); diff != "" {
			t.Errorf("left %t (-want +got)\n%s", left, diff)
		}
	}
}

// read decodes one-line manifests into Objects; namespaces are those that are mentioned, with the label mesh: m.
func read(t *testing.T, manifests ...string) *input.Objects {
	t.Helper()
	o := &input.Objects{Namespaces: []input.Namespace{{Name: "ns", Labels: map[string]string{"mesh": "m"}}}}
	for _, m := range manifests {
		var kind struct{ Kind string }
		decode(t, m, &kind)
		object := meshv1beta2.NewObject(kind.Kind)
		if object == nil {
			t.Fatalf("no such kind: %s", m)
		}
		decode(t, m, object)
		input.Add(o, object)
	}
	return o
}

func decode(t *testing.T, manifest string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(manifest), into); err != nil {
		t.Fatalf("%s: %v", manifest, err)
	}
}

func TestANodeThatLeavesTakesNoNewPods(t *testing.T) {
	at := metav1.Now()
	node := func(deleted bool) *meshv1beta2.VirtualNode {
		n := &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "n"}}
		n.Spec.MeshRef = &meshv1beta2.MeshReference{Name: "m", UID: "m"}
		if deleted {
			n.DeletionTimestamp = &at
		}
		return n
	}
	service := &meshv1beta2.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}}
	service.Spec.MeshRef = &meshv1beta2.MeshReference{Name: "m", UID: "m"}
	service.Spec.Provider = &meshv1beta2.VirtualServiceProvider{VirtualNode: &meshv1beta2.VirtualNodeServiceProvider{VirtualNodeRef: &meshv1beta2.Reference{Name: "n"}}}
	mesh := &meshv1beta2.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "m", UID: "m"}}
	for _, c := range []struct {
		what     string
		services []*meshv1beta2.VirtualService
		known    bool // whether the objects show the deletion already
		deleted  bool
		want     bool
	}{
		{"it stays", nil, false, false, false},
		{"nothing keeps it", nil, true, true, true},
		{"nothing keeps it, and the deletion is news", nil, false, true, true},
		{"a service keeps it", []*meshv1beta2.VirtualService{service}, true, true, false},
		{"a service keeps it, and the deletion is news", []*meshv1beta2.VirtualService{service}, false, true, false},
	} {
		o := &input.Objects{Config: []input.Object{mesh, node(c.known)}}
		input.Add(o, c.services...)
		if got := lifetime.Leaving(o, node(c.deleted)); got != c.want {
			t.Errorf("%s: leaving is %v, want %v", c.what, got, c.want)
		}
	}
}

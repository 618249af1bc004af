package admission

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// world is what the readers know: one mesh and one gateway for namespaces labelled mesh: m.
const world = `
apiVersion: v1
kind: Namespace
metadata: {name: ns, labels: {mesh: m}}
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m, uid: mesh-uid}
spec: {namespaceSelector: {matchLabels: {mesh: m}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank, labels: {mesh: m}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: other, uid: other-uid}
spec: {namespaceSelector: {matchLabels: {mesh: other}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: foreign, namespace: gw, uid: foreign-uid}
spec: {namespaceSelector: {matchLabels: {mesh: m}}, meshRef: {name: other, uid: other-uid}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: g, namespace: gw, uid: gateway-uid}
spec: {namespaceSelector: {matchLabels: {mesh: m}}, gatewayRouteSelector: {matchLabels: {route: r}}, meshRef: {name: m, uid: mesh-uid}}
`

// reader serves the objects of a YAML stream.
func reader(t testing.TB, objects string) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, meshv1beta2.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for document := range strings.SplitSeq(objects, "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		var object client.Object
		switch kind.Kind {
		case "Namespace":
			object = &corev1.Namespace{}
		case "":
			continue
		default:
			object = meshv1beta2.NewObject(kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatal(err)
		}
		builder = builder.WithObjects(object)
	}
	return builder.Build()
}

func asJSON(t *testing.T, source string) []byte {
	t.Helper()
	if source == "" {
		return nil
	}
	data, err := yaml.YAMLToJSON([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// request makes an admission request in namespace ns; with an old object it is an update.
func request(t *testing.T, object, old string) admission.Request {
	t.Helper()
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "ns", Object: runtime.RawExtension{Raw: asJSON(t, object)},
	}}
	if old != "" {
		r.Operation, r.OldObject.Raw = admissionv1.Update, asJSON(t, old)
	}
	return r
}

func deps(t *testing.T, families string) Deps {
	return Deps{Cache: reader(t, world), Live: reader(t, world), Families: func() string { return families }}
}

func TestMutatorPatches(t *testing.T) {
	const refs = `"meshRef":{"name":"m","uid":"mesh-uid"}`
	for name, c := range map[string]struct {
		kind, families, object, old string
		want                        string // the patched object's spec as JSON; empty for no patch at all
	}{
		"a new node gets mesh and name":            {"VirtualNode", "", `{metadata: {name: x}, spec: {backends: []}}`, "", `{"awsName":"x_ns","backends":[],` + refs + `}`},
		"a node without spec gets one":             {"VirtualNode", "", `{metadata: {name: x}}`, "", `{"awsName":"x_ns",` + refs + `}`},
		"a node with a null spec gets one":         {"VirtualNode", "", `{metadata: {name: x}, spec: null}`, "", `{"awsName":"x_ns",` + refs + `}`},
		"a new service gets a name with a dot":     {"VirtualService", "", `{metadata: {name: x}, spec: {awsName: ""}}`, "", `{"awsName":"x.ns",` + refs + `}`},
		"a given name stays":                       {"VirtualRouter", "", `{metadata: {name: x}, spec: {awsName: other}}`, "", `{"awsName":"other",` + refs + `}`},
		"a generated name is left to the operator": {"VirtualNode", "", `{metadata: {generateName: x-}, spec: {}}`, "", `{` + refs + `}`},
		"a group gets a mesh but no name":          {"BackendGroup", "", `{metadata: {name: x}, spec: {}}`, "", `{` + refs + `}`},
		"a Route gets neither":                     {"Route", "", `{metadata: {name: x}, spec: {virtualRouterRef: {name: r}}}`, "", ``},
		"the very mesh it joins may be given":      {"BackendGroup", "", `{metadata: {name: x}, spec: {` + `meshRef: {name: m, uid: mesh-uid}}}`, "", ``},
		"the mesh may be given without uid":        {"BackendGroup", "", `{metadata: {name: x}, spec: {meshRef: {name: m}}}`, "", `{` + refs + `}`},
		"an empty mesh counts as absent":           {"BackendGroup", "", `{metadata: {name: x}, spec: {meshRef: {}}}`, "", `{` + refs + `}`},
		"a gateway route gets its gateway":         {"GatewayRoute", "", `{metadata: {name: x, labels: {route: r}}, spec: {}}`, "", `{"awsName":"x_ns",` + refs + `,"virtualGatewayRef":{"name":"g","namespace":"gw","uid":"gateway-uid"}}`},
		"the very gateway may be given":            {"GatewayRoute", "", `{metadata: {name: x, labels: {route: r}}, spec: {awsName: other, virtualGatewayRef: {name: g, namespace: gw, uid: gateway-uid}}}`, "", `{"awsName":"other",` + refs + `,"virtualGatewayRef":{"name":"g","namespace":"gw","uid":"gateway-uid"}}`},
		"a new mesh gets a name":                   {"Mesh", "4", `{metadata: {name: x}, spec: {}}`, "", `{"awsName":"x"}`},
		"an IPv4 cluster corrects a preference":    {"Mesh", "4", `{metadata: {name: x}, spec: {awsName: x, meshServiceDiscovery: {ipPreference: IPv6_ONLY}}}`, "", `{"awsName":"x","meshServiceDiscovery":{"ipPreference":"IPv4_ONLY"}}`},
		"an unknown cluster counts as IPv4":        {"Mesh", "", `{metadata: {name: x}, spec: {awsName: x, meshServiceDiscovery: {}}}`, "", `{"awsName":"x","meshServiceDiscovery":{"ipPreference":"IPv4_ONLY"}}`},
		"an IPv6 cluster sets a preference":        {"Mesh", "6", `{metadata: {name: x}, spec: {awsName: x}}`, "", `{"awsName":"x","meshServiceDiscovery":{"ipPreference":"IPv6_ONLY"}}`},
		"an IPv6 cluster does so on updates":       {"Mesh", "6", `{metadata: {name: x}, spec: {awsName: x}}`, `{spec: {awsName: x}}`, `{"awsName":"x","meshServiceDiscovery":{"ipPreference":"IPv6_ONLY"}}`},
		"a cluster with both leaves the choice":    {"Mesh", "46", `{metadata: {name: x}, spec: {awsName: x, meshServiceDiscovery: {ipPreference: IPv6_ONLY}}}`, "", ``},
		"an update keeps what it leaves out":       {"GatewayRoute", "", `{spec: {httpRoute: {}}}`, `{spec: {awsName: a, meshRef: {name: m, uid: u}, virtualGatewayRef: {name: g, uid: v}}}`, `{"awsName":"a","httpRoute":{},"meshRef":{"name":"m","uid":"u"},"virtualGatewayRef":{"name":"g","uid":"v"}}`},
		"an update keeps what it leaves empty":     {"VirtualNode", "", `{spec: {awsName: "", meshRef: {name: ""}}}`, `{spec: {awsName: a, meshRef: {name: m, uid: u}}}`, `{"awsName":"a","meshRef":{"name":"m","uid":"u"}}`},
		"an update without spec keeps names":       {"VirtualNode", "", `{metadata: {name: x}}`, `{spec: {awsName: a}}`, `{"awsName":"a"}`},
		"an update changes nothing else":           {"VirtualNode", "", `{extra: 1, spec: {awsName: b, unknown: {}}}`, `{spec: {awsName: a}}`, ``},
		"an update fills nothing in":               {"VirtualNode", "", `{metadata: {name: x}, spec: {}}`, `{spec: {}}`, ``},
		"an update loses its empty lists":          {"VirtualRouter", "", `{spec: {awsName: a, listeners: []}}`, `{spec: {awsName: a}}`, `{"awsName":"a"}`},
		"one that is being deleted keeps its name": {"VirtualNode", "", `{metadata: {deletionTimestamp: "2024-01-01T00:00:00Z"}, spec: {}}`, `{spec: {awsName: a}}`, `{"awsName":"a"}`},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Mutator{Kind: c.kind, Deps: deps(t, c.families)}
			req := request(t, c.object, c.old)
			resp := m.Handle(context.Background(), req)
			if !resp.Allowed {
				t.Fatalf("denied: %v", resp.Result)
			}
			if c.want == "" {
				if len(resp.Patches) != 0 {
					t.Fatalf("patched: %v", resp.Patches)
				}
				return
			}
			if diff := cmp.Diff(decodeJSON(t, []byte(c.want)), decodeJSON(t, specOf(t, req.Object.Raw, resp))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func decodeJSON(t *testing.T, data []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return value
}

// specOf returns the spec as the patch of a response leaves it.
func specOf(t *testing.T, raw []byte, resp admission.Response) []byte {
	t.Helper()
	var object struct{ Spec json.RawMessage }
	if err := json.Unmarshal(patched(t, raw, resp), &object); err != nil {
		t.Fatal(err)
	}
	return object.Spec
}

// patched applies the patch of a response as the API server does.
func patched(t *testing.T, raw []byte, resp admission.Response) []byte {
	t.Helper()
	operations, err := json.Marshal(resp.Patches)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("%s: %v", operations, err)
	}
	return out
}

func TestARouteThatTwoGatewaysSelectNamesOne(t *testing.T) {
	objects := world + `---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: greedy, namespace: bank, uid: greedy-uid}
spec: {namespaceSelector: {}, meshRef: {name: m, uid: mesh-uid}}
`
	m := &Mutator{Kind: "GatewayRoute", Deps: Deps{Cache: reader(t, objects), Live: reader(t, objects), Families: func() string { return "4" }}}
	for name, c := range map[string]struct{ ref, want, denial string }{
		"it names none":                   {"", "", "expecting 1 but found 2: bank/greedy,gw/g; name one in spec.virtualGatewayRef"},
		"it names one":                    {"virtualGatewayRef: {name: g, namespace: gw}", `{"name":"g","namespace":"gw","uid":"gateway-uid"}`, ""},
		"it names one that has not it":    {"virtualGatewayRef: {name: foreign, namespace: gw}", "", "expecting 1 but found 0"},
		"it names one of its own by name": {"virtualGatewayRef: {name: g}", "", "expecting 1 but found 0"},
		"it names another life of one":    {"virtualGatewayRef: {name: g, namespace: gw, uid: x}", "", "may not specify read-only field: spec.virtualGatewayRef"},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, `{metadata: {name: x, labels: {route: r}}, spec: {`+c.ref+`}}`, "")
			resp := m.Handle(context.Background(), req)
			if c.denial != "" {
				if resp.Allowed || !strings.Contains(resp.Result.Message, c.denial) {
					t.Fatalf("got %t, %v", resp.Allowed, resp.Result)
				}
				return
			}
			if !resp.Allowed || !strings.Contains(string(specOf(t, req.Object.Raw, resp)), `"virtualGatewayRef":`+c.want) {
				t.Errorf("got %v, %v", resp.Result, resp.Patches)
			}
		})
	}
}

func TestMutatorDenies(t *testing.T) {
	for name, c := range map[string]struct{ kind, namespace, object, message string }{
		"a namespace that no mesh selects":           {"VirtualNode", "outside", `{metadata: {name: x}}`, "failed to find matching mesh for namespace: outside, expecting 1 but found 0"},
		"a namespace that does not exist":            {"VirtualNode", "nowhere", `{metadata: {name: x}}`, "namespace nowhere does not exist"},
		"another mesh":                               {"VirtualNode", "ns", `{metadata: {name: x}, spec: {meshRef: {name: other, uid: u}}}`, "VirtualNode create may not specify read-only field: spec.meshRef"},
		"the mesh of another life":                   {"VirtualNode", "ns", `{metadata: {name: x}, spec: {meshRef: {name: m, uid: u}}}`, "VirtualNode create may not specify read-only field: spec.meshRef"},
		"another gateway":                            {"GatewayRoute", "ns", `{metadata: {name: x, labels: {route: r}}, spec: {virtualGatewayRef: {name: other, uid: u}}}`, "GatewayRoute create may not specify read-only field: spec.virtualGatewayRef"},
		"a gateway route that no gateway selects":    {"GatewayRoute", "ns", `{metadata: {name: x}}`, "failed to find matching virtualGateway for gatewayRoute: x, expecting 1 but found 0"},
		"a gateway route of a namespace outside":     {"GatewayRoute", "outside", `{metadata: {name: x}}`, "failed to find matching mesh"},
		"the namespace of the object counts as well": {"VirtualNode", "", `{metadata: {name: x, namespace: outside}}`, "failed to find matching mesh for namespace: outside"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Mutator{Kind: c.kind, Deps: deps(t, "4")}
			req := request(t, c.object, "")
			req.Namespace = c.namespace
			resp := m.Handle(context.Background(), req)
			if resp.Allowed || resp.Result.Code != http.StatusForbidden || !strings.Contains(resp.Result.Message, c.message) {
				t.Errorf("got %t, %v", resp.Allowed, resp.Result)
			}
		})
	}
}

func TestMutatorRefusesWhatItCannotRead(t *testing.T) {
	for _, object := range []string{`[]`, `null`, `{spec: {awsName: 1}}`, `{metadata: 1}`} {
		m := &Mutator{Kind: "VirtualNode", Deps: deps(t, "4")}
		if resp := m.Handle(context.Background(), request(t, object, "")); resp.Allowed || resp.Result.Code != http.StatusBadRequest {
			t.Errorf("%s: got %t, %v", object, resp.Allowed, resp.Result)
		}
	}
}

// broken fails every request.
type broken struct{ client.Reader }

var errBroken = errors.New("no connection")

func (broken) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errBroken
}
func (broken) List(context.Context, client.ObjectList, ...client.ListOption) error { return errBroken }

func TestMutatorAsksTheServerBeforeItDenies(t *testing.T) {
	stale := strings.ReplaceAll(world, "uid: mesh-uid}\nspec: {namespaceSelector", "uid: mesh-uid}\nspec: {meshOwner: x, egressFilter")
	stale = strings.ReplaceAll(stale, "egressFilter: {matchLabels: {mesh: m}}", "egressFilter: {type: DROP_ALL}")
	for name, c := range map[string]struct {
		cache, live client.Reader
		code        int32
	}{
		"the cache suffices":                         {reader(t, world), broken{}, http.StatusOK},
		"an empty cache":                             {reader(t, ""), reader(t, world), http.StatusOK},
		"a cache in which no mesh selects":           {reader(t, stale), reader(t, world), http.StatusOK},
		"neither knows":                              {reader(t, ""), reader(t, ""), http.StatusForbidden},
		"the server cannot be reached for a denial":  {reader(t, ""), broken{}, http.StatusInternalServerError},
		"a broken cache does not matter":             {broken{}, reader(t, world), http.StatusOK},
		"a mesh that is gone only from the server's": {reader(t, world), reader(t, ""), http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Mutator{Kind: "VirtualNode", Deps: Deps{Cache: c.cache, Live: c.live, Families: func() string { return "4" }}}
			resp := m.Handle(context.Background(), request(t, `{metadata: {name: x}}`, ""))
			if resp.Allowed != (c.code == http.StatusOK) || !resp.Allowed && resp.Result.Code != c.code {
				t.Errorf("got %t, %v", resp.Allowed, resp.Result)
			}
		})
	}
}

func TestValidator(t *testing.T) {
	const in = `meshRef: {name: m, uid: mesh-uid}`
	const route = `httpRoute: {match: {prefix: /}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}`
	for name, c := range map[string]struct{ kind, object, old, denial, warning string }{
		"a good object":                                                  {"VirtualService", `{metadata: {name: x}}`, "", "", ""},
		"all broken rules are named":                                     {"VirtualNode", `{metadata: {name: x}, spec: {serviceDiscovery: {}, backends: [{virtualService: {}}]}}`, "", "serviceDiscovery must have one of dns and awsCloudMap; add it (VirtualNode ns/x, spec.serviceDiscovery); one of virtualServiceRef and virtualServiceARN", ""},
		"a warning":                                                      {"VirtualRouter", `{metadata: {name: x}}`, "", "", "the router has no listeners"},
		"a condition to come is a warning":                               {"VirtualRouter", `{metadata: {name: x}, spec: {listeners: [{portMapping: {port: 80, protocol: tcp}}], routes: [{name: r, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: 0}]}}}]}}`, "", "", "answers 503"},
		"an old fault is left in peace":                                  {"VirtualNode", `{metadata: {name: x}, spec: {awsName: x_ns, serviceDiscovery: {}}}`, `{metadata: {name: x}, spec: {serviceDiscovery: {}}}`, "", ""},
		"another name":                                                   {"VirtualNode", `{metadata: {name: x}, spec: {awsName: other}}`, `{metadata: {name: x}}`, "VirtualNode update may not change these fields: spec.awsName", ""},
		"another mesh while the old one exists":                          {"VirtualNode", `{metadata: {name: x}, spec: {meshRef: {name: m2, uid: u}}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}}}`, "spec.meshRef", ""},
		"another mesh that does not exist":                               {"VirtualNode", `{metadata: {name: x}, spec: {meshRef: {name: m2, uid: u}}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: gone}}}`, "spec.meshRef", ""},
		"the mesh recreated":                                             {"VirtualNode", `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: gone}}}`, "", ""},
		"the gateway recreated":                                          {"GatewayRoute", `{metadata: {name: x, labels: {route: r}}, spec: {` + in + `, virtualGatewayRef: {name: g, namespace: gw, uid: gateway-uid}, ` + route + `}}`, `{metadata: {name: x}, spec: {` + in + `, virtualGatewayRef: {name: g, namespace: gw, uid: gone}, ` + route + `}}`, "", ""},
		"another gateway while the old one is":                           {"GatewayRoute", `{metadata: {name: x}, spec: {virtualGatewayRef: {name: h, namespace: gw, uid: u}, ` + route + `}}`, `{metadata: {name: x}, spec: {virtualGatewayRef: {name: g, namespace: gw, uid: gateway-uid}, ` + route + `}}`, "spec.virtualGatewayRef", ""},
		"another name while it is being deleted":                         {"VirtualNode", `{metadata: {name: x, deletionTimestamp: "2024-01-01T00:00:00Z"}, spec: {awsName: other}}`, `{metadata: {name: x}}`, "VirtualNode update may not change these fields: spec.awsName", ""},
		"another mesh while it is being deleted":                         {"VirtualNode", `{metadata: {name: x, deletionTimestamp: "2024-01-01T00:00:00Z"}, spec: {meshRef: {name: m2, uid: u}}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}}}`, "spec.meshRef", ""},
		"a mesh that does not select it, instead of one that is gone":    {"VirtualNode", `{metadata: {name: x}, spec: {meshRef: {name: other, uid: other-uid}}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: gone}}}`, "spec.meshRef", ""},
		"a mesh that does not select it, where there was none":           {"VirtualNode", `{metadata: {name: x}, spec: {meshRef: {name: other, uid: other-uid}}}`, `{metadata: {name: x}}`, "Mesh other of this uid does not exist or does not select namespace ns", ""},
		"its mesh, where there was none":                                 {"VirtualNode", `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}}}`, `{metadata: {name: x}}`, "", ""},
		"a gateway that does not select it, instead of one that is gone": {"GatewayRoute", `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}, virtualGatewayRef: {name: g, namespace: gw, uid: gateway-uid}, ` + route + `}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}, virtualGatewayRef: {name: g, namespace: gw, uid: gone}, ` + route + `}}`, "spec.virtualGatewayRef", ""},
		"a gateway that does not select it, where there was none":        {"GatewayRoute", `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}, virtualGatewayRef: {name: g, namespace: gw, uid: gateway-uid}, ` + route + `}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}, ` + route + `}}`, "is not in the mesh or does not select the route", ""},
		"a gateway of another mesh":                                      {"GatewayRoute", `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}, virtualGatewayRef: {name: foreign, namespace: gw, uid: foreign-uid}, ` + route + `}}`, `{metadata: {name: x}, spec: {meshRef: {name: m, uid: mesh-uid}, ` + route + `}}`, "is not in the mesh or does not select the route", ""},
		"a name of another namespace of the mesh":                        {"VirtualNode", `{metadata: {name: x}, spec: {awsName: payments_bank, ` + in + `}}`, "", `the name "payments_bank" belongs to namespace bank of mesh m; choose another awsName, or create the object there (VirtualNode ns/x, spec.awsName)`, ""},
		"a host of another namespace of the mesh":                        {"VirtualService", `{metadata: {name: x}, spec: {awsName: payments.bank.svc.cluster.local, ` + in + `}}`, "", "belongs to namespace bank", ""},
		"its short name":                                                 {"VirtualService", `{metadata: {name: x}, spec: {awsName: Payments.bank, ` + in + `}}`, "", "belongs to namespace bank", ""},
		"a host below one of another namespace":                          {"VirtualService", `{metadata: {name: x}, spec: {awsName: "0.payments.bank.svc.cluster.local.", ` + in + `}}`, "", "belongs to namespace bank", ""},
		"a host of a namespace outside":                                  {"VirtualService", `{metadata: {name: x}, spec: {awsName: blue.outside.svc.cluster.local, ` + in + `}}`, "", "", ""},
		"a host of a namespace that does not exist":                      {"VirtualService", `{metadata: {name: x}, spec: {awsName: example.com, ` + in + `}}`, "", "", ""},
		"a name of its own namespace":                                    {"VirtualNode", `{metadata: {name: x}, spec: {awsName: other_ns, ` + in + `}}`, "", "", ""},
		"a name of nobody":                                               {"VirtualNode", `{metadata: {name: x}, spec: {awsName: other, ` + in + `}}`, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := &Validator{Object: meshv1beta2.KindOf(c.kind).New, Deps: deps(t, "4")}
			resp := v.Handle(context.Background(), request(t, c.object, c.old))
			if c.denial != "" {
				if resp.Allowed || resp.Result.Code != http.StatusForbidden || !strings.Contains(resp.Result.Message, c.denial) {
					t.Fatalf("got %t, %v", resp.Allowed, resp.Result)
				}
				return
			}
			warnings := strings.Join(resp.Warnings, "\n")
			if !resp.Allowed || !strings.Contains(warnings, c.warning) || (c.warning == "") != (warnings == "") {
				t.Errorf("got %t, %v, warnings %q", resp.Allowed, resp.Result, warnings)
			}
		})
	}
}

func TestValidatorRefusesWhatItCannotRead(t *testing.T) {
	v := &Validator{Object: meshv1beta2.KindOf("VirtualNode").New, Deps: deps(t, "4")}
	if resp := v.Handle(context.Background(), request(t, `{spec: 1}`, "")); resp.Allowed || resp.Result.Code != http.StatusBadRequest {
		t.Errorf("got %t, %v", resp.Allowed, resp.Result)
	}
}

func TestDeletionsPass(t *testing.T) {
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Delete}}
	for _, k := range meshv1beta2.Kinds {
		kind, object := k.Name, k.New
		m, v := &Mutator{Kind: kind, Deps: deps(t, "4")}, &Validator{Object: object, Deps: deps(t, "4")}
		if !m.Handle(context.Background(), req).Allowed || !v.Handle(context.Background(), req).Allowed {
			t.Errorf("%s cannot be deleted", kind)
		}
	}
}

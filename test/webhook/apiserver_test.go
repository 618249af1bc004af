package webhook

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// TestThroughAnAPIServer follows objects through a real API server: mutation, schema, validation, storage.
func TestThroughAnAPIServer(t *testing.T) {
	env := start(t)
	ctx := t.Context()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", Labels: map[string]string{"mesh": "m"}}}
	if err := env.client.Create(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	for _, manifest := range []string{
		`{kind: Mesh, metadata: {name: m}, spec: {namespaceSelector: {matchLabels: {mesh: m}}}}`,
		`{kind: VirtualGateway, metadata: {name: g, namespace: ns}, spec: {namespaceSelector: {}}}`,
	} {
		if err := env.client.Create(ctx, parse(t, manifest)); err != nil {
			t.Fatal(err)
		}
	}
	var mesh meshv1beta2.Mesh
	if err := env.client.Get(ctx, client.ObjectKey{Name: "m"}, &mesh); err != nil {
		t.Fatal(err)
	}
	t.Run("objects are completed", env.completed)
	t.Run("what breaks a rule is denied by the webhook of its kind", env.denied)
	t.Run("what breaks the schema is refused with the schema's words", env.refusedBySchema)
	t.Run("warnings reach the client", env.warned)
	t.Run("the offline verbs say the same", env.offline)
	t.Run("an update without system fields keeps them", env.putBack)
	t.Run("an unchanged update changes nothing", env.unchanged)
	t.Run("unknown top-level fields and nulls survive or vanish without harm", env.unknownAndNull)
	t.Run("only pods that may be injected are sent to the pod webhook", env.pods)
	t.Run("finalizers can be removed while the webhook would deny", env.finalizers)
}

func (e *environment) completed(t *testing.T) {
	const to = `action: {target: {virtualService: {virtualServiceRef: {name: s}}}}`
	for _, c := range []struct{ manifest, awsName, gateway string }{
		{`{kind: VirtualNode, metadata: {name: a, namespace: ns}}`, "a_ns", ""},
		{`{kind: VirtualService, metadata: {name: a, namespace: ns}, spec: {}}`, "a.ns", ""},
		{`{kind: VirtualRouter, metadata: {name: a, namespace: ns}, spec: {listeners: [], routes: [{name: r, grpcRoute: {match: {metadata: []}, action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: 1}]}}}]}}`, "a_ns", ""},
		{`{kind: VirtualGateway, metadata: {name: a, namespace: ns}, spec: {awsName: given}}`, "given", ""},
		{`{kind: GatewayRoute, metadata: {name: a, namespace: ns}, spec: {http2Route: {match: {prefix: /, headers: [], queryParameters: []}, ` + to + `}}}`, "a_ns", "g"},
		{`{kind: BackendGroup, metadata: {name: a, namespace: ns}}`, "", ""},
		{`{kind: VirtualNode, metadata: {generateName: gen-, namespace: ns}}`, "", ""},
	} {
		object := parse(t, c.manifest)
		if err := e.client.Create(t.Context(), object); err != nil {
			t.Errorf("%s: %v", c.manifest, err)
			continue
		}
		awsName, _, _ := unstructured.NestedString(object.Object, "spec", "awsName")
		gateway, _, _ := unstructured.NestedString(object.Object, "spec", "virtualGatewayRef", "name")
		meshName, _, _ := unstructured.NestedString(object.Object, "spec", "meshRef", "name")
		if awsName != c.awsName || gateway != c.gateway || meshName != "m" {
			t.Errorf("%s: awsName %q, gateway %q, mesh %q", c.manifest, awsName, gateway, meshName)
		}
	}
	route := parse(t, `{kind: Route, metadata: {name: a, namespace: ns}, spec: {virtualRouterRef: {name: r}, tcpRoute: {action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: 1}]}}}}`)
	before := route.DeepCopy()
	if err := e.client.Create(t.Context(), route); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(before.Object["spec"], route.Object["spec"]); diff != "" {
		t.Errorf("a Route was changed:\n%s", diff)
	}
}

func (e *environment) denied(t *testing.T) {
	for _, c := range []struct{ manifest, webhook, message string }{
		{`{kind: Mesh, metadata: {name: x}, spec: {namespaceSelector: {matchExpressions: [{key: a, operator: Maybe}]}}}`, "vmesh", "malformed label selector"},
		{`{kind: VirtualNode, metadata: {name: x, namespace: ns}, spec: {serviceDiscovery: {}}}`, "vvirtualnode", "serviceDiscovery must have one of"},
		{`{kind: VirtualNode, metadata: {name: x, namespace: default}}`, "mvirtualnode", "failed to find matching mesh for namespace: default"},
		{`{kind: VirtualService, metadata: {name: x, namespace: ns}, spec: {provider: {virtualNode: {}}}}`, "vvirtualservice", "one of virtualNodeRef and virtualNodeARN"},
		{`{kind: VirtualRouter, metadata: {name: x, namespace: ns}, spec: {routes: [{name: r}]}}`, "vvirtualrouter", "route r must have one of"},
		{`{kind: Route, metadata: {name: x, namespace: ns}, spec: {virtualRouterRef: {name: r}}}`, "vroute", "route x must have one of"},
		{`{kind: VirtualGateway, metadata: {name: x, namespace: ns}, spec: {podSelector: {matchLabels: {"a b": c}}}}`, "vvirtualgateway", "malformed label selector"},
		{`{kind: GatewayRoute, metadata: {name: x, namespace: ns}, spec: {}}`, "vgatewayroute", "One of grpcRoute, httpRoute or http2Route"},
		{`{kind: BackendGroup, metadata: {name: x, namespace: ns}, spec: {meshRef: {name: other, uid: u}}}`, "mbackendgroup", "BackendGroup create may not specify read-only field: spec.meshRef"},
	} {
		err := e.client.Create(t.Context(), parse(t, c.manifest))
		want := `admission webhook "` + c.webhook + `.appmesh.k8s.aws" denied the request: `
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", c.manifest, err)
		}
	}
}

func (e *environment) refusedBySchema(t *testing.T) {
	for _, manifest := range []string{
		`{kind: Mesh, metadata: {name: x}, spec: {egressFilter: {type: DENY}}}`,
		`{kind: VirtualNode, metadata: {name: x, namespace: ns}, spec: {listeners: [{portMapping: {port: "80", protocol: http}}]}}`,
		`{kind: VirtualRouter, metadata: {name: x, namespace: ns}, spec: {routes: [{name: r, tcpRoute: {action: {weightedTargets: []}}}]}}`,
		`{kind: Route, metadata: {name: x, namespace: ns}, spec: {virtualRouterRef: {name: ""}}}`,
	} {
		err := e.client.Create(t.Context(), parse(t, manifest))
		if err == nil || strings.Contains(err.Error(), "admission webhook") || !strings.Contains(err.Error(), "spec.") {
			t.Errorf("%s: %v", manifest, err)
		}
	}
}

func (e *environment) warned(t *testing.T) {
	e.warnings.Clear()
	if err := e.client.Create(t.Context(), parse(t, `{kind: VirtualRouter, metadata: {name: warned, namespace: ns}}`)); err != nil {
		t.Fatal(err)
	}
	if got := e.warnings.String(); !strings.Contains(got, "the router has no listeners") {
		t.Errorf("got %q", got)
	}
}

func (e *environment) putBack(t *testing.T) {
	object := e.get(t, "GatewayRoute", "a")
	want, _, _ := unstructured.NestedMap(object.Object, "spec")
	for _, field := range []string{"awsName", "meshRef", "virtualGatewayRef"} {
		unstructured.RemoveNestedField(object.Object, "spec", field)
	}
	if err := e.client.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, object.Object["spec"]); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func (e *environment) unchanged(t *testing.T) {
	for _, kind := range []string{"VirtualNode", "VirtualService", "VirtualRouter", "Route", "VirtualGateway", "GatewayRoute", "BackendGroup"} {
		object := e.get(t, kind, "a")
		before := object.DeepCopy()
		if err := e.client.Update(t.Context(), object); err != nil {
			t.Errorf("%s: %v", kind, err)
		} else if object.GetResourceVersion() != before.GetResourceVersion() {
			t.Errorf("%s was written: %s", kind, cmp.Diff(before.Object, object.Object))
		}
	}
}

func (e *environment) unknownAndNull(t *testing.T) {
	object := parse(t, `{kind: VirtualService, metadata: {name: odd, namespace: ns}, extra: {kept: true}, spec: {awsName: odd.local, provider: null}}`)
	if err := e.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"kept": true}
	if diff := cmp.Diff(want, object.Object["extra"]); diff != "" {
		t.Errorf("unknown fields (-want +got):\n%s", diff)
	}
	if err := e.client.Create(t.Context(), parse(t, `{kind: VirtualService, metadata: {name: bare, namespace: ns}, spec: null}`)); err != nil {
		t.Errorf("a null spec: %v", err)
	}
}

// pods makes pods while nothing answers the pod webhook: those that are sent to it fail.
func (e *environment) pods(t *testing.T) {
	for _, c := range []struct {
		about, namespace, label, annotation string
		sent                                bool
	}{
		{"a namespace without the label", "unlabelled", "", "", false},
		{"a namespace with another value", "elsewhere", "true", "", false},
		{"an enabled namespace", "enabled", "enabled", "", true},
		{"a disabled namespace, where pods may opt in", "disabled", "disabled", "enabled", true},
		{"a pod that opts out", "enabled", "enabled", "Disabled", false},
		{"the operator's namespace", "aftermesh-system", "enabled", "", false},
	} {
		t.Run(c.about, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
			if c.label != "" {
				namespace.Labels = map[string]string{meshv1beta2.LabelInject: c.label}
			}
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: c.namespace}}
			for _, object := range []client.Object{namespace, account} {
				if err := client.IgnoreAlreadyExists(e.client.Create(t.Context(), object)); err != nil {
					t.Fatal(err)
				}
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: c.namespace},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
			if c.annotation != "" {
				pod.Annotations = map[string]string{meshv1beta2.LabelInject: c.annotation}
			}
			err := e.client.Create(t.Context(), pod, client.DryRunAll)
			sent := err != nil && strings.Contains(err.Error(), "mpod.appmesh.k8s.aws")
			if sent != c.sent || !sent && err != nil {
				t.Errorf("sent: %t, %v", sent, err)
			}
		})
	}
}

func (e *environment) finalizers(t *testing.T) {
	object := parse(t, `{kind: VirtualNode, metadata: {name: held, namespace: ns, finalizers: [example.com/held]}}`)
	if err := e.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	// With the webhooks out of reach every change of a spec fails.
	for _, kind := range []string{"Mutating", "Validating"} {
		e.redirect(t, kind, nowhere)
	}
	e.await(t, "changes of the spec fail", func() error {
		if err := e.client.Patch(t.Context(), object.DeepCopy(), merge(`{"spec":{"podSelector":{}}}`), client.DryRunAll); err == nil {
			return errors.New("it was accepted")
		}
		return nil
	})
	if err := e.client.Patch(t.Context(), object, merge(`{"metadata":{"labels":{"a":"b"}}}`)); err != nil {
		t.Errorf("a label cannot be set: %v", err)
	}
	if err := e.client.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if err := e.client.Patch(t.Context(), object, merge(`{"metadata":{"finalizers":null}}`)); err != nil {
		t.Errorf("the finalizer cannot be removed: %v", err)
	}
}

// merge is a JSON merge patch.
func merge(patch string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(patch)) }

// redirect sends the webhooks of a configuration elsewhere.
func (e *environment) redirect(t *testing.T, kind, url string) {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("admissionregistration.k8s.io/v1")
	object.SetKind(kind + "WebhookConfiguration")
	name := "aftermesh-" + strings.ToLower(kind) + "-webhook-configuration"
	if err := e.client.Get(t.Context(), client.ObjectKey{Name: name}, object); err != nil {
		t.Fatal(err)
	}
	hooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
	for _, hook := range hooks {
		hook.(map[string]any)["clientConfig"] = map[string]any{"url": url}
	}
	object.Object["webhooks"] = hooks
	if err := e.client.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func (e *environment) get(t *testing.T, kind, name string) *unstructured.Unstructured {
	t.Helper()
	object := parse(t, `{kind: `+kind+`}`)
	if err := e.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

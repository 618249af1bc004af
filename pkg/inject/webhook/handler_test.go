package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// A pod as the API server sends it, with a field that no release knows yet and without a name.
const rawPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"front-","labels":{"app":"front"}},
"spec":{"containers":[{"name":"app","image":"app","fieldOfTheFuture":{"a":1}}],"securityContext":{}}}`

func reader(t testing.TB, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := meshv1beta2.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func handler(cache, live client.Reader) *Handler {
	return &Handler{Cache: cache, Live: live, Config: func() inject.Config {
		c := inject.Defaults()
		c.Version, c.ControlPlane.CA = "test", "root"
		return c
	}}
}

func create(raw string) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "1", Operation: admissionv1.Create, Namespace: "demo", Object: runtime.RawExtension{Raw: []byte(raw)},
	}}
}

func demo(value string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo", Labels: map[string]string{meshv1beta2.LabelInject: value}}}
}

func mesh() *meshv1beta2.Mesh {
	return &meshv1beta2.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "demo", UID: "m1"}}
}

func node(name string) *meshv1beta2.VirtualNode {
	n := &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "demo"}}
	n.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "front"}}
	n.Spec.MeshRef = &meshv1beta2.MeshReference{Name: "demo", UID: "m1"}
	return n
}

func elsewhere(name string) *meshv1beta2.VirtualNode {
	n := node(name)
	n.Namespace = "other"
	return n
}

func TestThePatchAddsTheProxyAndKeepsWhatItDoesNotKnow(t *testing.T) {
	cache := reader(t, demo("enabled"), mesh(), node("front"), elsewhere("stranger"))
	// An empty API server: a clear answer of the cache must not need it.
	response := handler(cache, reader(t)).Handle(t.Context(), create(rawPod))
	if !response.Allowed {
		t.Fatalf("denied: %v", response.Result)
	}
	operations, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply([]byte(rawPod))
	if err != nil {
		t.Fatalf("the patch does not fit the request: %v\n%s", err, operations)
	}
	if !strings.Contains(string(patched), `"fieldOfTheFuture":{"a":1}`) {
		t.Errorf("an unknown field was lost:\n%s", patched)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(patched, &pod); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range pod.Spec.InitContainers {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, ","); got != "envoy,proxyinit" {
		t.Errorf("init containers %s, want envoy,proxyinit", got)
	}
	if got := pod.Annotations[meshv1beta2.AnnotationNode]; got != "mesh/demo/virtualNode/front_demo" {
		t.Errorf("node annotation %q", got)
	}
}

func TestAnswers(t *testing.T) {
	const none = "sidecarInject enabled but no matching VirtualNode or VirtualGateway found"
	cases := []struct {
		name        string
		cache, live []client.Object
		allowed     bool
		patched     bool
		message     string
		warning     string
	}{
		{name: "nothing matches anywhere", cache: []client.Object{demo("enabled")}, live: []client.Object{demo("enabled")}, message: none},
		{name: "the cache has not seen the node yet", cache: []client.Object{demo("enabled")},
			live: []client.Object{demo("enabled"), mesh(), node("front")}, allowed: true, patched: true},
		{name: "the cache has not seen the mesh yet", cache: []client.Object{demo("enabled"), node("front")},
			live: []client.Object{demo("enabled"), mesh(), node("front")}, allowed: true, patched: true},
		{name: "the cache has not seen the namespace yet", live: []client.Object{demo("enabled"), mesh(), node("front")}, allowed: true, patched: true},
		{name: "the cache has not seen the node of an open namespace yet", cache: []client.Object{demo("")},
			live: []client.Object{demo(""), mesh(), node("front")}, allowed: true, patched: true},
		{name: "the cache still holds a deleted second node", cache: []client.Object{demo("enabled"), mesh(), node("a"), node("b")},
			live: []client.Object{demo("enabled"), mesh(), node("b")}, allowed: true, patched: true},
		{name: "two nodes indeed", cache: []client.Object{demo("enabled"), mesh(), node("a"), node("b")},
			live:    []client.Object{demo("enabled"), mesh(), node("a"), node("b")},
			message: "found multiple matching VirtualNodes for pod demo/front-: demo/a,demo/b"},
		{name: "an open namespace without a node", cache: []client.Object{demo("")}, live: []client.Object{demo("")},
			allowed: true, warning: "runs outside the mesh"},
		{name: "a disabled namespace", cache: []client.Object{demo("disabled"), mesh(), node("front")}, allowed: true},
		{name: "no such namespace", message: `namespaces "demo" not found`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			response := handler(reader(t, c.cache...), reader(t, c.live...)).Handle(t.Context(), create(rawPod))
			if response.Allowed != c.allowed || (len(response.Patches) > 0) != c.patched {
				t.Errorf("allowed %t with %d changes, want %t, changed %t (%v)", response.Allowed, len(response.Patches), c.allowed, c.patched, response.Result)
			}
			if !c.allowed && !strings.Contains(response.Result.Message, c.message) {
				t.Errorf("message %q, want %q", response.Result.Message, c.message)
			}
			if all := strings.Join(response.Warnings, "\n"); !strings.Contains(all, c.warning) || c.warning == "" && all != "" {
				t.Errorf("warnings %q, want %q", response.Warnings, c.warning)
			}
		})
	}
}

func TestOnlyCreationIsLookedAt(t *testing.T) {
	request := create(rawPod)
	request.Operation = admissionv1.Update
	if response := handler(reader(t), reader(t)).Handle(t.Context(), request); !response.Allowed || len(response.Patches) > 0 {
		t.Errorf("update: allowed %t with %d changes", response.Allowed, len(response.Patches))
	}
	if response := handler(reader(t), reader(t)).Handle(t.Context(), create("{")); response.Allowed {
		t.Error("a broken pod was allowed")
	}
}

func BenchmarkHandle(b *testing.B) {
	h := handler(reader(b, demo("enabled"), mesh(), node("front")), reader(b))
	for b.Loop() {
		if response := h.Handle(b.Context(), create(rawPod)); !response.Allowed {
			b.Fatal(response.Result)
		}
	}
}

package admission

import (
	"encoding/json"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/schema"
)

// FuzzWebhooks sends any bytes as the object and the old object of a request to both webhooks of a kind: they answer. What an API
// server would send of the same objects can be decoded after the mutating webhook if it could be before.
func FuzzWebhooks(f *testing.F) {
	names := make([]string, len(meshv1beta2.Kinds))
	for i, k := range meshv1beta2.Kinds {
		names[i] = k.Name
	}
	slices.Sort(names)
	seeds := []string{
		``, `null`, `[]`, `{}`, `{"metadata":{"name":"x"},"spec":{}}`, `{"metadata":{"name":"x"},"spec":null}`,
		`{"metadata":{"name":"x","namespace":"ns","deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"awsName":""}}`,
		`{"metadata":{"name":"x","namespace":"ns"},"spec":{"awsName":"a","meshRef":{"name":"m","uid":"u"},"virtualGatewayRef":{"name":"g","uid":"u"}}}`,
		`{"metadata":{"name":"x","namespace":"ns"},"spec":{"podSelector":{"matchExpressions":[{"key":"a","operator":"Maybe"}]},"listeners":[{"portMapping":{"port":-1}}],"backends":[]}}`,
		`{"metadata":{"name":"x","namespace":"ns"},"spec":{"routes":[{"name":"r","httpRoute":{"match":{"path":{}},"action":{"weightedTargets":[{}]},"retryPolicy":{"httpRetryEvents":[]}}}]}}`,
		`{"metadata":{"name":"x","namespace":"ns"},"spec":{"httpRoute":{"match":{"hostname":{"suffix":"*"},"headers":[{"match":{"range":{}}}]},"action":{"rewrite":{"prefix":{}},"target":{"virtualService":{}}}}}}`,
	}
	for i := range names {
		for j, s := range seeds {
			f.Add(uint8(i), []byte(s), []byte(seeds[(j+i)%len(seeds)]), j%2 == 0)
		}
	}
	world := reader(f, world)
	d := Deps{Cache: world, Live: world, Families: func() string { return "46" }}
	f.Fuzz(func(t *testing.T, kind uint8, object, old []byte, update bool) {
		name := names[int(kind)%len(names)]
		request := func(object, old []byte) admission.Request {
			r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Namespace: "ns", Object: runtime.RawExtension{Raw: object}}}
			if update {
				r.Operation, r.OldObject.Raw = admissionv1.Update, old
			}
			return r
		}
		handle := func(r admission.Request) admission.Response {
			(&Validator{Object: meshv1beta2.KindOf(name).New, Deps: d}).Handle(t.Context(), r)
			return (&Mutator{Kind: name, Deps: d}).Handle(t.Context(), r)
		}
		handle(request(object, old))
		sent, stored := asSent(t, name, object, false), asSent(t, name, old, true)
		if sent == nil || update && stored == nil || json.Unmarshal(sent, meshv1beta2.NewObject(name)) != nil {
			return
		}
		answer := handle(request(sent, stored))
		if !answer.Allowed || len(answer.Patches) == 0 {
			return
		}
		if err := json.Unmarshal(patched(t, sent, answer), meshv1beta2.NewObject(name)); err != nil {
			t.Fatalf("%s becomes something else: %v", name, err)
		}
	})
}

// asSent is what an API server sends of an object: pruned, with every key once and, if it was stored, valid. It is nil if the server
// would send nothing.
func asSent(t *testing.T, name string, raw []byte, stored bool) []byte {
	t.Helper()
	k, err := schema.Of(meshv1beta2.GroupVersion.WithKind(name))
	if err != nil || k == nil {
		t.Fatal(name, err)
	}
	var object map[string]any
	if utiljson.Unmarshal(raw, &object) != nil || object == nil {
		return nil
	}
	if _, broken := k.Decode(object); len(broken) > 0 || stored && len(k.Validate(object)) > 0 {
		return nil
	}
	out, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

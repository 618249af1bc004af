package admission

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// FuzzWebhooks sends any bytes as the object and the old object of a request to both webhooks of a kind: they answer, and what the
// mutating one makes of an object that can be decoded can be decoded too.
func FuzzWebhooks(f *testing.F) {
	names := slices.Sorted(maps.Keys(kinds))
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
		r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Namespace: "ns", Object: runtime.RawExtension{Raw: object}}}
		if update {
			r.Operation, r.OldObject.Raw = admissionv1.Update, old
		}
		(&Validator{Object: kinds[name], Deps: d}).Handle(t.Context(), r)
		answer := (&Mutator{Kind: name, Deps: d}).Handle(t.Context(), r)
		if !answer.Allowed || len(answer.Patches) == 0 || json.Unmarshal(object, kinds[name]()) != nil {
			return
		}
		if err := json.Unmarshal(patched(t, object, answer), kinds[name]()); err != nil {
			t.Fatalf("%s becomes something else: %v", name, err)
		}
	})
}

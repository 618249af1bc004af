package v1beta2

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestDuration(t *testing.T) {
	for d, want := range map[Duration]time.Duration{
		{Unit: "s", Value: 15}:                  15 * time.Second,
		{Unit: "ms", Value: 15}:                 15 * time.Millisecond,
		{Unit: "s"}:                             0,
		{Unit: "s", Value: math.MaxInt64}:       math.MaxInt64,
		{Unit: "ms", Value: math.MaxInt64 / 10}: math.MaxInt64,
	} {
		if got := d.Duration(); got != want {
			t.Errorf("%d %s is %v, want %v", d.Value, d.Unit, got, want)
		}
	}
}

func TestEffectiveName(t *testing.T) {
	empty, given := "", "given"
	meta := metav1.ObjectMeta{Name: "x", Namespace: "ns"}
	for about, c := range map[string]struct {
		object Object
		want   string
	}{
		"a mesh has its own name":           {&Mesh{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, "x"},
		"a service has a dot":               {&VirtualService{ObjectMeta: meta}, "x.ns"},
		"a node has an underscore":          {&VirtualNode{ObjectMeta: meta}, "x_ns"},
		"a router has an underscore":        {&VirtualRouter{ObjectMeta: meta}, "x_ns"},
		"a gateway has an underscore":       {&VirtualGateway{ObjectMeta: meta}, "x_ns"},
		"a gateway route has one too":       {&GatewayRoute{ObjectMeta: meta}, "x_ns"},
		"a route is named for its object":   {&Route{ObjectMeta: meta}, "x"},
		"a group is named for its object":   {&BackendGroup{ObjectMeta: meta}, "x"},
		"an awsName counts":                 {&VirtualNode{ObjectMeta: meta, Spec: VirtualNodeSpec{AWSName: &given}}, "given"},
		"an empty awsName does not":         {&VirtualNode{ObjectMeta: meta, Spec: VirtualNodeSpec{AWSName: &empty}}, "x_ns"},
		"an object without a name has none": {&VirtualNode{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-", Namespace: "ns"}}, ""},
	} {
		if got := EffectiveName(c.object); got != c.want {
			t.Errorf("%s: got %q, want %q", about, got, c.want)
		}
	}
}

func TestEveryKindIsRegisteredAndNamesItself(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	count := 0
	for kind := range scheme.KnownTypes(GroupVersion) {
		made, err := scheme.New(GroupVersion.WithKind(kind))
		if err != nil {
			t.Fatal(err)
		}
		object, ok := made.(Object)
		if !ok {
			continue
		}
		count++
		common := object.Common()
		if common.Kind != kind || common.Conditions == nil || common.ObservedGeneration == nil {
			t.Errorf("%s calls itself %q", kind, common.Kind)
		}
	}
	if count != 8 {
		t.Errorf("%d kinds are registered, want 8", count)
	}
}

func TestMeshResourcesByARN(t *testing.T) {
	for arn, want := range map[string]struct {
		mesh, name string
		ok         bool
	}{
		"arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualNode/n_ns": {"m", "n_ns", true},
		"arn:local:appmesh:local:000000000000:mesh/m@222/virtualNode/n":  {"m", "n", true},
		"arn:aws:appmesh:::mesh/m/virtualNode/a:b":                       {"m", "a:b", true},
		"arn:aws:appmesh:r:1:mesh/m/virtualRouter/n":                     {},
		"arn:aws:appmesh:r:1:mesh/m/virtualNode/n/more":                  {},
		"arn:aws:appmesh:r:1:mesh/m/virtualNode/":                        {},
		"arn:aws:appmesh:r:1:mesh//virtualNode/n":                        {},
		"arn:aws:appmesh:r:1":                                            {},
		"urn:aws:appmesh:r:1:mesh/m/virtualNode/n":                       {},
		"testARN": {},
	} {
		mesh, name, err := ParseMeshResource(arn, ARNVirtualNode)
		if (err == nil) != want.ok || mesh != want.mesh || name != want.name {
			t.Errorf("%s: %q, %q, %v", arn, mesh, name, err)
		}
		if err != nil && !errors.Is(err, ErrARN) {
			t.Errorf("%s: %v is no ErrARN", arn, err)
		}
	}
	const text = "arn:aws:appmesh:us-west-2:111122223333:mesh/m"
	if a, err := ParseARN(text); err != nil || a.String() != text {
		t.Errorf("%s becomes %s, %v", text, a, err)
	}
}

func TestRulesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.About == "" || r.Reason == "" || !reflect.DeepEqual(RuleByID(r.ID), r) {
			t.Errorf("rule %+v", r)
		}
		seen[r.ID] = true
		if _, status := r.Condition(); (status == metav1.ConditionTrue) != (r.Class == ClassWarn) {
			t.Errorf("rule %s of class %s gives status %s", r.ID, r.Class, status)
		}
	}
	if r := RuleByID("none"); r.Class != ClassReject || r.Reason == "" {
		t.Errorf("an unknown rule is %+v", r)
	}
}

func TestConditionsAreWrittenInFull(t *testing.T) {
	got, err := json.Marshal(Condition{Type: "A", Status: "True", LastTransitionTime: metav1.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"A","status":"True","lastTransitionTime":"1970-01-01T00:00:00Z","reason":"","message":""}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err = json.Marshal(Condition{Type: "A", Status: "True"}); err != nil || string(got) != `{"type":"A","status":"True","reason":"","message":""}` {
		t.Errorf("an unset time gives %s, %v", got, err)
	}
}

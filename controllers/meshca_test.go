package controllers

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	"github.com/aftermesh/aftermesh/pkg/ca"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

func issuerOf(t *testing.T, c *fake.ClientBuilder, requests []input.CertificateRequest, stored ...string) *certificateIssuer {
	t.Helper()
	return &certificateIssuer{
		client: c.Build(), namespace: "system", log: logr.Discard(),
		snapshot: func() *pipeline.Snapshot { return &pipeline.Snapshot{Result: &input.Result{Certificates: requests}} },
		leaves:   func() map[mesh.Object]input.KeyPair { return nil }, stored: func() []string { return stored },
		settings: func() []*meshv1alpha1.MeshSettings { return nil },
	}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := corev1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestACertificateThatCannotBeMadeKeepsBackNoOther has such a request before, between and behind good ones.
func TestACertificateThatCannotBeMadeKeepsBackNoOther(t *testing.T) {
	var requests []input.CertificateRequest
	for _, name := range []string{"payé.example", "a.bank", "payé.example", "b.bank", "payé.example"} {
		o := input.AppMesh("VirtualNode", "bank", string(rune('a'+len(requests))))
		requests = append(requests, input.CertificateRequest{Object: o, DNS: []string{name}})
	}
	s := issuerOf(t, fake.NewClientBuilder().WithScheme(scheme(t)), requests)
	if err := s.check(t.Context(), time.Now()); err == nil {
		t.Error("nothing is said of those that cannot be made")
	}
	for i, r := range requests {
		var secret corev1.Secret
		err := s.client.Get(t.Context(), types.NamespacedName{Namespace: "system", Name: ca.LeafName(r.Object)}, &secret)
		if good := i%2 == 1; (err == nil) != good {
			t.Errorf("request %d for %v: %v", i, r.DNS, err)
		}
	}
}

// TestSecretsOfNobodyAreDeleted leaves what is wanted.
func TestSecretsOfNobodyAreDeleted(t *testing.T) {
	wanted := input.AppMesh("VirtualNode", "bank", "pay")
	old := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "aftermesh-leaf-of-another-form"}}
	s := issuerOf(t, fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(old),
		[]input.CertificateRequest{{Object: wanted, DNS: []string{"pay.bank"}}}, old.Name, ca.LeafName(wanted))
	if err := s.check(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var list corev1.SecretList
	if err := s.client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for _, secret := range list.Items {
		if secret.Name != ca.SecretName && secret.Name != ca.LeafName(wanted) {
			t.Errorf("Secret %s is still there", secret.Name)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("there are %d Secrets, want the root and one leaf", len(list.Items))
	}
}

package controllers

import (
	"net/http/httptest"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestAReplicaIsReadyOnceItsWebhooksAreTrusted(t *testing.T) {
	t.Parallel()
	hook := func(bundle string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{CABundle: []byte(bundle)}
	}
	mutating := func(bundles ...string) client.Object {
		m := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: mutatingConfiguration}}
		for _, b := range bundles {
			m.Webhooks = append(m.Webhooks, admissionregistrationv1.MutatingWebhook{Name: "m", ClientConfig: hook(b)})
		}
		return m
	}
	validating := func(bundle string) client.Object {
		return &admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: validatingConfiguration},
			Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "v", ClientConfig: hook(bundle)}},
		}
	}
	for _, c := range []struct {
		name    string
		objects []client.Object
		want    string
	}{
		{"every webhook has the root", []client.Object{mutating("old root", "root"), validating("root")}, ""},
		{"one mutating webhook lacks it", []client.Object{mutating("root", ""), validating("root")}, "webhook m"},
		{"the validating webhook lacks it", []client.Object{mutating("root"), validating("other")}, "webhook v"},
		{"an administrator deleted the configurations", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reader := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(c.objects...).Build()
			check := &trust{reader: reader, root: func() []byte { return []byte("root") }}
			err := check.check(httptest.NewRequest("GET", "/readyz", nil))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

package attack

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

func TestTheOperatorsOwnRightsAreBounded(t *testing.T) {
	w := start(t)
	cfg := rest.CopyConfig(w.Fleet.Server().Config())
	cfg.Impersonate.UserName = "system:serviceaccount:aftermesh-system:aftermesh"
	operator, err := client.New(cfg, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	denied := func(what string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "the operator of Aftermesh") {
			t.Errorf("%s: %v", what, err)
		}
	}
	own := metav1.OwnerReference{APIVersion: meshv1beta2.GroupVersion.String(), Kind: "VirtualNode", Name: "x", UID: "x"}
	for name, change := range map[string]func(*appsv1.ControllerRevision){
		"a revision without the label": func(r *appsv1.ControllerRevision) { r.Labels = nil },
		"a revision without an owner":  func(r *appsv1.ControllerRevision) { r.OwnerReferences = nil },
		"a revision of a DaemonSet": func(r *appsv1.ControllerRevision) {
			r.OwnerReferences[0].APIVersion, r.OwnerReferences[0].Kind = "apps/v1", "DaemonSet"
		},
	} {
		r := &appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "kube-system", Name: "made", Labels: map[string]string{lifetime.LabelAccepted: "VirtualNode"},
				OwnerReferences: []metav1.OwnerReference{own},
			},
			Data: runtime.RawExtension{Raw: []byte("{}")},
		}
		change(r)
		denied(name, operator.Create(t.Context(), r))
	}
	others := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: bank, Name: "theirs"}, Data: runtime.RawExtension{Raw: []byte("{}")}}
	if err := w.Admin.Create(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	denied("removing another's revision", operator.Delete(t.Context(), others.DeepCopy()))
	if err := w.Admin.Delete(t.Context(), others); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	w.configurations(t, operator, denied)
}

func (w *World) configurations(t *testing.T, operator client.Client, denied func(string, error)) {
	t.Helper()
	key := client.ObjectKey{Name: "aftermesh-mutating-webhook-configuration"}
	var m admissionregistrationv1.MutatingWebhookConfiguration
	if err := w.Admin.Get(t.Context(), key, &m); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(h *admissionregistrationv1.MutatingWebhook){
		"another rule": func(h *admissionregistrationv1.MutatingWebhook) { h.Rules[0].Resources = []string{"secrets"} },
		"another url":  func(h *admissionregistrationv1.MutatingWebhook) { h.ClientConfig.URL = new("https://mallory.example/") },
		"fewer conditions": func(h *admissionregistrationv1.MutatingWebhook) {
			h.MatchConditions = h.MatchConditions[:0]
		},
		"another selector": func(h *admissionregistrationv1.MutatingWebhook) {
			h.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		},
	} {
		changed := m.DeepCopy()
		change(&changed.Webhooks[0])
		denied(name, operator.Patch(t.Context(), changed, client.MergeFrom(&m), client.DryRunAll))
	}
	changed := m.DeepCopy()
	changed.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: "x", UID: "x"}}
	denied("an owner that is gone", operator.Patch(t.Context(), changed, client.MergeFrom(&m), client.DryRunAll))
	changed = m.DeepCopy()
	changed.Webhooks = changed.Webhooks[:1]
	denied("fewer webhooks", operator.Patch(t.Context(), changed, client.MergeFrom(&m), client.DryRunAll))
	changed = m.DeepCopy()
	changed.Webhooks[0].ClientConfig.CABundle = m.Webhooks[1].ClientConfig.CABundle[:0]
	if err := operator.Patch(t.Context(), changed, client.MergeFrom(&m), client.DryRunAll); err != nil {
		t.Errorf("the authority alone: %v", err)
	}
}

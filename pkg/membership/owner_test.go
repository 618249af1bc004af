package membership_test

import (
	"testing"

	"k8s.io/utils/ptr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
)

func TestHostOwner(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"payments.bank":                             "bank",
		"payments.bank.svc":                         "bank",
		"payments.bank.svc.cluster.local":           "bank",
		"payments.bank.svc.cluster.local.":          "bank",
		"PAYMENTS.Bank.Svc.Cluster.Local":           "bank",
		"payments.bank.svc.cluster.local:8080":      "bank",
		"payments.bank:8080":                        "bank",
		"pod-0.payments.bank.svc.cluster.local":     "bank",
		"a.b.pod-0.payments.bank.svc":               "bank",
		"bank.svc.cluster.local":                    "bank",
		"*.bank.svc.cluster.local":                  "bank",
		"10-0-0-1.bank.pod.cluster.local":           "bank",
		"10-0-0-1.payments.bank.svc.cluster.local.": "bank",
		"www.bank.example":                          "",
		"payments":                                  "",
		"":                                          "",
		".":                                         "",
		".bank":                                     "",
		"10.0.0.1":                                  "",
		"[::1]:80":                                  "",
		"svc.cluster.local":                         "",
		"payments.bank.svc.other.domain":            "",
	} {
		if got := membership.HostOwner(host, ""); got != want {
			t.Errorf("%s belongs to %q, want %q", host, got, want)
		}
	}
	if got := membership.HostOwner("payments.bank.svc.corp.example", "corp.example."); got != "bank" {
		t.Errorf("with another cluster domain it belongs to %q", got)
	}
}

func TestNameOwner(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"payments_bank": "bank", "a_b_bank": "bank", "payments": "", "_bank": "", "payments_": "", "payments.bank": "",
	} {
		n := &meshv1beta2.VirtualNode{Spec: meshv1beta2.VirtualNodeSpec{AWSName: ptr.To(name)}}
		if got := membership.NameOwner(n, ""); got != want {
			t.Errorf("the node %s belongs to %q, want %q", name, got, want)
		}
	}
	for _, o := range []meshv1beta2.Object{
		&meshv1beta2.Mesh{Spec: meshv1beta2.MeshSpec{AWSName: ptr.To("m_bank")}}, &meshv1beta2.Route{}, &meshv1beta2.BackendGroup{},
	} {
		o.SetName("x_bank")
		if got := membership.NameOwner(o, ""); got != "" {
			t.Errorf("a %s belongs to %q", o.Common().Kind, got)
		}
	}
	s := &meshv1beta2.VirtualService{}
	s.SetName("payments")
	s.SetNamespace("bank")
	if got := membership.NameOwner(s, ""); got != "bank" {
		t.Errorf("the default name of a service belongs to %q", got)
	}
}

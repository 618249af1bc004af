package lifetime

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// TestSettingsSayWhetherTheyCount: the operator, with its own rights, writes the conditions of MeshSettings, and follows their changes.
func TestSettingsSayWhetherTheyCount(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	s := &meshv1alpha1.MeshSettings{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: meshv1alpha1.MeshSettingsSpec{
		Certificates: []meshv1alpha1.CertificateSource{{SDSName: ptr.To("bank"), SecretName: "bank"}},
	}}
	if err := c.client.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	accepted := func(want metav1.ConditionStatus, reason string) {
		t.Helper()
		c.await(t, fmt.Sprintf("Accepted is %s", want), func() error {
			if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				return err
			}
			for _, x := range s.Status.Conditions {
				if x.Type == meshv1beta2.ConditionAccepted && x.Status == want && x.Reason == reason && x.ObservedGeneration == s.Generation && s.Status.ObservedGeneration == s.Generation {
					return nil
				}
			}
			return fmt.Errorf("generation %d has %+v", s.Generation, s.Status)
		})
	}
	accepted(metav1.ConditionFalse, meshv1beta2.ReasonInvalidConfiguration)
	s.Spec.Certificates[0].Namespaces = []string{"ns"}
	if err := c.client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	accepted(metav1.ConditionTrue, meshv1beta2.ReasonAccepted)
}

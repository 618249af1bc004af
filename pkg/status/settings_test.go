package status

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
)

func TestAnEntryThatServesNobodyIsTold(t *testing.T) {
	at := func(minute int) metav1.Time { return metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)) }
	m := &meshv1alpha1.MeshSettings{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
	m.Spec.Certificates = []meshv1alpha1.CertificateSource{{SecretName: "a", Namespaces: []string{"bank"}}, {SecretName: "b"}}
	s := Settings(m, at(1))
	c := s.Conditions[0]
	if c.Status != metav1.ConditionFalse || c.Message == "" || c.ObservedGeneration != 3 || c.LastTransitionTime != at(1) {
		t.Errorf("an entry without namespaces gives %+v", c)
	}
	m.Status = s
	if again := Settings(m, at(2)).Conditions[0]; again != c {
		t.Errorf("a minute later it is %+v", again)
	}
	m.Spec.Certificates[1].Namespaces = []string{"*"}
	if c := Settings(m, at(3)).Conditions[0]; c.Status != metav1.ConditionTrue || c.LastTransitionTime != at(3) {
		t.Errorf("with namespaces it is %+v", c)
	}
}

package status

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Settings returns the status that MeshSettings should have. What stands in it already keeps its transition time, which is now where the
// status of a condition is another.
func Settings(m *meshv1alpha1.MeshSettings, now metav1.Time) meshv1alpha1.MeshSettingsStatus {
	c := metav1.Condition{
		Type: meshv1beta2.ConditionAccepted, Status: metav1.ConditionTrue, Reason: meshv1beta2.ReasonAccepted,
		ObservedGeneration: m.Generation, LastTransitionTime: now,
	}
	var unused []string
	for i, e := range m.Spec.Certificates {
		if len(e.Namespaces) == 0 {
			unused = append(unused, fmt.Sprintf("certificates[%d]", i))
		}
	}
	if len(unused) > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, meshv1beta2.ReasonInvalidConfiguration
		c.Message = fmt.Sprintf("%s names no namespaces and serves nobody: list those that may use it, or \"*\" for all", list(unused))
	}
	for _, had := range m.Status.Conditions {
		if had.Type == c.Type && had.Status == c.Status {
			c.LastTransitionTime = had.LastTransitionTime
		}
	}
	return meshv1alpha1.MeshSettingsStatus{Conditions: []metav1.Condition{c}, ObservedGeneration: m.Generation}
}

// list names the first few things and how many there are.
func list(things []string) string {
	const shown = 5
	if len(things) <= shown {
		return strings.Join(things, ", ")
	}
	return fmt.Sprintf("%s, … (%d in all)", strings.Join(things[:shown], ", "), len(things))
}

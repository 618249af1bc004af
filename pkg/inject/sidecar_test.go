package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestInitContainersThatAPluginCutsOff are named, those of the pod only, also when the pod comes by again.
func TestInitContainersThatAPluginCutsOff(t *testing.T) {
	t.Parallel()
	for about, c := range map[string]struct {
		own  []corev1.Container
		want string
	}{
		"none":   {nil, ""},
		"of two": {[]corev1.Container{{Name: "one", Image: "i"}, {Name: "two", Image: "i"}}, "init containers one, two before the proxy runs"},
	} {
		s := readScene(t, "testdata/cni-on-fargate.yaml")
		s.pod.Annotations[annotationInitFirst] = "disabled"
		s.pod.Spec.InitContainers = c.own
		for range 2 {
			answer := admit(t, s)
			warnings := strings.Join(answer.Report.Warnings, "\n")
			if strings.Contains(warnings, "the CNI plugin redirects") != (c.want != "") || !strings.Contains(warnings, c.want) {
				t.Errorf("%s: warnings %q, want %q", about, warnings, c.want)
			}
			s.pod = answer.Pod
		}
	}
}

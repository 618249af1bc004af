package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestAPodThatUsesThePortOfProbesIsDenied(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"container other has it": func(s *scene) {
			s.pod.Spec.Containers = append(s.pod.Spec.Containers, corev1.Container{Name: "other", Ports: []corev1.ContainerPort{{ContainerPort: 15020}}})
		},
		"VirtualNode demo/front has a listener on it": func(s *scene) {
			s.objects.VirtualNodes[0].Spec.Listeners[3].PortMapping.Port = 15020
		},
		"the flag envoy-admin-access-port names it": func(s *scene) { s.config.AdminPort = 15020 },
	} {
		s := readScene(t, "testdata/probes-strict.yaml")
		change(&s)
		answer := admit(t, s)
		if answer.Report.Outcome != Denied || !strings.Contains(answer.Report.Reason, name) || !strings.Contains(answer.Report.Reason, annotationRewrite) {
			t.Errorf("%s: %s: %s", name, answer.Report.Outcome, answer.Report.Reason)
		}
		if answer.Pod != s.pod || s.pod.Spec.Containers[0].LivenessProbe.HTTPGet.Port.IntVal == probePort {
			t.Errorf("%s: the denied pod was changed", name)
		}
		s.pod.Annotations[annotationRewrite] = "disabled"
		if answer := admit(t, s); answer.Report.Outcome != Injected {
			t.Errorf("%s, with the way out: %s: %s", name, answer.Report.Outcome, answer.Report.Reason)
		}
	}
}

func TestAProbeThatCameAfterTheProxyIsNamed(t *testing.T) {
	s := readScene(t, "testdata/probes-strict.yaml")
	s.pod = admit(t, s).Pod
	s.pod.Spec.Containers = append(s.pod.Spec.Containers, corev1.Container{Name: "late", ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)},
	}}})
	answer := admit(t, s)
	if all := strings.Join(answer.Report.Warnings, "\n"); !strings.Contains(all, "the probe or hook late/readiness came into the pod after the proxy") {
		t.Errorf("warnings %q", all)
	}
}

func TestWhatKubeletSendsForAPath(t *testing.T) {
	for path, want := range map[string]string{
		"": "/", "/": "/", "health": "/health", "/a b": "/a%20b", "/a%2fb": "/a%2fb", "/x?y=1&z": "/x?y=1&z", "/x?": "/x?", "/x#y": "/x",
		"/%zz": "/%25zz", "http://elsewhere/x": "/x", "//x/y": "/y",
	} {
		if got := requestURI(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

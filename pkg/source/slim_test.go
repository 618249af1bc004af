package source

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

func slimmed(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	out, err := Slim(p)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*corev1.Pod)
}

// TestLongAnnotationsAreNotKept: what a tenant writes into the annotations of pods does not fill the operator's memory.
func TestLongAnnotationsAreNotKept(t *testing.T) {
	t.Parallel()
	kept := slimmed(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{
		meshv1beta2.AnnotationNode: "mesh/m/virtualNode/n_ns", meshv1beta2.AnnotationProfile: strings.Repeat("x", maxAnnotation+1),
		meshv1beta2.LabelInject: strings.Repeat("x", 200_000), "other": "x",
	}}}).Annotations
	if len(kept) != 1 || kept[meshv1beta2.AnnotationNode] == "" {
		t.Errorf("kept %d annotations: %.200v", len(kept), kept)
	}
}

// TestASlimPodGivesTheRowOfTheWholeOne: nothing that a row is made from is cut off, whatever form it has in the pod.
func TestASlimPodGivesTheRowOfTheWholeOne(t *testing.T) {
	t.Parallel()
	since := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	whole := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app": "a"}, DeletionTimestamp: &since,
				Annotations: map[string]string{
					meshv1beta2.AnnotationNode: "mesh/m/virtualNode/n_ns", meshv1beta2.AnnotationProfile: `{"sds":true}`, meshv1beta2.LabelInject: "enabled",
				},
			},
			Spec: corev1.PodSpec{
				NodeName: "node", ServiceAccountName: "account",
				InitContainers: []corev1.Container{{Name: inject.EnvoyContainer, Image: "envoy"}},
				Containers: []corev1.Container{{
					Name: "app", Image: "app", Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
					Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP}, {ContainerPort: 9}},
					LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
						Path: "/live", Port: intstr.FromString("http"),
					}}},
					ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(7000)}}},
				}},
			},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue}},
				InitContainerStatuses: []corev1.ContainerStatus{{
					Name: inject.EnvoyContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}},
				}},
			},
		}
		edit(p)
		return p
	}
	for name, edit := range map[string]func(*corev1.Pod){
		"an injected pod":                   func(*corev1.Pod) {},
		"a pod without annotations":         func(p *corev1.Pod) { p.Annotations = nil },
		"a pod of the host's network":       func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"a pod for Windows":                 func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} },
		"a pod for Windows by its selector": func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "windows"} },
		"a pod with a gate":                 func(p *corev1.Pod) { p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: CloudMapGate}} },
		"an ordinary sidecar": func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, p.Spec.InitContainers...)
			p.Spec.InitContainers = nil
			p.Status.ContainerStatuses, p.Status.InitContainerStatuses = p.Status.InitContainerStatuses, nil
		},
		"a pod that is scraped": func(p *corev1.Pod) {
			p.Annotations["prometheus.io/scrape"], p.Annotations["prometheus.io/port"] = "true", "9100"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := whole(edit)
			want, got := convertPod(p), convertPod(slimmed(t, p))
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(podRow{})); diff != "" {
				t.Errorf("(-of the whole pod +of the slim one)\n%s", diff)
			}
		})
	}
}

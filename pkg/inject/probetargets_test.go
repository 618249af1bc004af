package inject

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func TestWhatListenersRefuseIsNamed(t *testing.T) {
	const scrape = "Prometheus by annotation prometheus.io/port asks port 8080"
	// What asks in clear text, and with TLS where the application speaks it itself.
	usual := []string{
		"the liveness probe of container app asks port 8080", "the preStop hook of container app asks port 8080",
		"the readiness probe of container app asks port 9090", "the startup probe of container app asks port 9090",
		"the liveness probe of container log asks port 8080", "the liveness probe of container secure asks port 8443",
	}
	permissive := "the liveness probe of container untouched asks port 8081"
	first := "the startup probe of container log asks port 8080"
	all := append(slices.Clone(usual), permissive)
	for _, c := range []struct {
		name string
		// was is the mode of all listeners when the pod is made, with the pod's annotations; mode is that of all of them afterwards.
		was         meshv1beta2.TLSMode
		annotations map[string]string
		mode        meshv1beta2.TLSMode
		mutual      bool
		want        []string
	}{
		{name: "nothing while listeners take clear text", was: "PERMISSIVE"},
		{name: "nothing that was rewritten because the listeners were STRICT already"},
		{name: "nothing that was rewritten in time", was: "DISABLED", annotations: map[string]string{annotationRewrite: "enabled"}, mode: "STRICT"},
		{name: "all that the listeners took when the pod was made", was: "DISABLED", mode: "STRICT", want: all},
		{name: "what asks without a certificate too", was: "DISABLED", mode: "STRICT", mutual: true,
			want: append(slices.Clone(all), "the startup probe of container secure asks port 8080", scrape)},
		{name: "what the pod's author wanted to keep", annotations: map[string]string{annotationRewrite: "disabled"}, want: usual},
		{name: "a scrape in clear text", was: "DISABLED", annotations: map[string]string{annotationScrapeScheme: "http"}, mode: "STRICT",
			want: append(slices.Clone(all), scrape)},
		{name: "what an early container asks behind the proxy", was: "DISABLED", annotations: map[string]string{annotationInitFirst: "enabled"}, mode: "STRICT",
			want: append(slices.Clone(all), first)},
		{name: "the same in CNI form, where the proxy is first", was: "DISABLED", annotations: map[string]string{annotationCNI: "enabled"}, mode: "STRICT",
			want: append(slices.Clone(all), first)},
		{name: "nothing of ports that are not redirected", was: "DISABLED", annotations: map[string]string{meshv1beta2.AnnotationPorts: ""}, mode: "STRICT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := readScene(t, "testdata/probes-strict.yaml")
			node := s.objects.VirtualNodes[0]
			turn(node, c.was, false)
			for key, value := range c.annotations {
				s.pod.Annotations[key] = value
			}
			answer := admit(t, s)
			if answer.Report.Outcome != Injected {
				t.Fatal(answer.Report)
			}
			turn(node, c.mode, c.mutual)
			var got []string
			for _, a := range Refused(answer.Pod, node) {
				got = append(got, a.String())
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestClearPortsSurviveWhatTheOperatorCutsAway(t *testing.T) {
	s := readScene(t, "testdata/probes-strict.yaml")
	turn(s.objects.VirtualNodes[0], "DISABLED", false)
	pod := admit(t, s).Pod
	want := []uint32{8080, 8081, 9090}
	if diff := cmp.Diff(want, ClearPorts(pod)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for range 2 { // an informer may cut an object down twice
		kept := map[string]string{}
		KeepClearPorts(kept, pod)
		pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: kept}}
		if diff := cmp.Diff(want, ClearPorts(pod)); diff != "" {
			t.Errorf("cut down (-want +got)\n%s", diff)
		}
	}
	s.pod.Annotations[annotationRewrite] = "disabled"
	if ports := ClearPorts(admit(t, s).Pod); ports != nil {
		t.Errorf("a pod that is to be left so has %v", ports)
	}
}

// turn gives all listeners of a node a mode, unless it is empty.
func turn(n *meshv1beta2.VirtualNode, mode meshv1beta2.TLSMode, mutual bool) {
	for i := range n.Spec.Listeners {
		tls := n.Spec.Listeners[i].TLS
		if mode != "" {
			tls.Mode = mode
		}
		if mutual {
			tls.Validation = &meshv1beta2.ListenerTLSValidation{}
		}
	}
}

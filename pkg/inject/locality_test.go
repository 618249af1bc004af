package inject

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAProxyIsToldWhereItRuns(t *testing.T) {
	for _, c := range []struct {
		name, node, zone string
		want             string // empty: the label's value once the pod is bound
	}{
		{name: "a pod that says nothing follows its node"},
		{name: "a pod that names a zone keeps it", zone: "z9", want: "z9"},
		{name: "the labels that a pod has from its node are read where they stand", node: "n1", zone: "z1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := readScene(t, "testdata/plain.yaml")
			s.pod.Spec.NodeName = c.node
			if c.zone != "" {
				s.pod.Labels[corev1.LabelTopologyZone] = c.zone
			}
			found := map[string]corev1.EnvVar{}
			eachEnvoy(admit(t, s).Pod, func(envoy *corev1.Container) {
				for _, v := range envoy.Env {
					found[v.Name] = v
				}
			})
			for name, label := range map[string]string{"AFTERMESH_ZONE": corev1.LabelTopologyZone, "AFTERMESH_REGION": corev1.LabelTopologyRegion} {
				want := c.want
				if name == "AFTERMESH_REGION" {
					want = ""
				}
				v := found[name]
				follows := v.ValueFrom != nil && v.ValueFrom.FieldRef.FieldPath == "metadata.labels['"+label+"']"
				if v.Value != want || follows != (want == "") {
					t.Errorf("%s is %+v, want %q", name, v, want)
				}
			}
		})
	}
}

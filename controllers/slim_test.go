package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// TestLongAnnotationsAreNotKept: what a tenant writes into the annotations of pods does not fill the operator's memory.
func TestLongAnnotationsAreNotKept(t *testing.T) {
	t.Parallel()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{
		meshv1beta2.AnnotationNode: "mesh/m/virtualNode/n_ns", meshv1beta2.AnnotationProfile: strings.Repeat("x", maxAnnotation+1),
		meshv1beta2.LabelInject: strings.Repeat("x", 200_000), "other": "x",
	}}}
	got, err := slimPod(p)
	if err != nil {
		t.Fatal(err)
	}
	kept := got.(*corev1.Pod).Annotations
	if len(kept) != 1 || kept[meshv1beta2.AnnotationNode] == "" {
		t.Errorf("kept %d annotations: %.200v", len(kept), kept)
	}
}

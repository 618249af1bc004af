package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// nearest names the node or gateway of the pod's namespace whose selector fits the pod best, and what it asks for that the pod does
// not have; empty if none has anything in common with the pod.
func (d *decider) nearest() string {
	best, least, what := "", 0, ""
	look := func(kind string, object metav1.Object, s *metav1.LabelSelector) {
		if s == nil || object.GetNamespace() != d.objects.Namespace {
			return
		}
		met, unmet := d.compare(s)
		if met == 0 || len(unmet) == 0 {
			return
		}
		name := fmt.Sprintf("%s %s/%s", kind, object.GetNamespace(), object.GetName())
		if best == "" || len(unmet) < least || len(unmet) == least && name < best {
			best, least, what = name, len(unmet), strings.Join(unmet, ", ")
		}
	}
	for _, n := range d.objects.VirtualNodes {
		look("VirtualNode", n, n.Spec.PodSelector)
	}
	for _, g := range d.objects.VirtualGateways {
		look("VirtualGateway", g, g.Spec.PodSelector)
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; the nearest is %s, whose podSelector asks for %s", best, what)
}

// compare counts the requirements of a selector that the pod meets, and words the others, sorted by key.
func (d *decider) compare(s *metav1.LabelSelector) (met int, unmet []string) {
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		has, ok := d.pod.Labels[key]
		switch want := s.MatchLabels[key]; {
		case ok && has == want:
			met++
		case ok:
			unmet = append(unmet, fmt.Sprintf("label %s=%s, and the pod has %s=%s", key, want, key, has))
		default:
			unmet = append(unmet, fmt.Sprintf("label %s=%s, which the pod has not", key, want))
		}
	}
	for _, r := range s.MatchExpressions {
		one, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{r}})
		switch {
		case err != nil: // an unusable selector was told of before
		case one.Matches(labels.Set(d.pod.Labels)):
			met++
		default:
			unmet = append(unmet, one.String())
		}
	}
	return met, unmet
}

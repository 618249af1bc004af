package status

import (
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Change says how urgent a difference between the stored and the desired status is.
type Change int

// The kinds of difference.
const (
	// None means that nothing has to be written.
	None Change = iota
	// Wording means that only messages of conditions or the count of proxies differ.
	Wording
	// Lowered means that a condition that was true by the word of proxies is to become something else.
	Lowered
	// Flipped means anything else: a status, a reason, a generation or an identifier.
	Flipped
)

// Merge returns how an object differs from its desired status, and a copy of it with that status; the copy is nil when nothing
// differs. Conditions of types that are not ours are kept; a transition time moves only when its status does.
func Merge(d *Desired, now time.Time) (meshv1beta2.Object, Change) {
	have := d.Object.Common()
	conditions, change := mergeConditions(*have.Conditions, d.Conditions, now)
	generation := d.Object.GetGeneration()
	if *have.ObservedGeneration == nil || **have.ObservedGeneration != generation {
		change = max(change, Flipped)
	}
	if *have.Proxies != d.Proxies {
		change = max(change, Wording)
	}
	setARN := have.ARN != nil && d.ARN != "" && (*have.ARN == nil || **have.ARN != d.ARN)
	router, isRouter := d.Object.(*meshv1beta2.VirtualRouter)
	if setARN || isRouter && !maps.Equal(router.Status.RouteARNs, d.RouteARNs) {
		change = max(change, Flipped)
	}
	if change == None {
		return nil, None
	}
	out, ok := d.Object.DeepCopyObject().(meshv1beta2.Object)
	if !ok {
		return nil, None // every kind's copy is of the same kind
	}
	c := out.Common()
	*c.Conditions, *c.ObservedGeneration, *c.Proxies = conditions, &generation, d.Proxies
	if setARN {
		*c.ARN = &d.ARN
	}
	if r, ok := out.(*meshv1beta2.VirtualRouter); ok {
		r.Status.RouteARNs = d.RouteARNs
	}
	return out, change
}

// byProxies is true for the conditions that a stream which has not found its way back yet would lower.
func byProxies(kind string) bool {
	return kind == meshv1beta2.ConditionProgrammed || kind == meshv1beta2.ConditionReady
}

func mergeConditions(stored, desired []meshv1beta2.Condition, now time.Time) ([]meshv1beta2.Condition, Change) {
	change := None
	out := make([]meshv1beta2.Condition, 0, len(desired))
	for _, want := range desired {
		had := meshv1beta2.FindCondition(stored, want.Type)
		switch {
		case had == nil:
			want.LastTransitionTime = metav1.NewTime(now)
			change = max(change, Flipped)
		case had.Status != want.Status:
			want.LastTransitionTime = metav1.NewTime(now)
			if had.Status == metav1.ConditionTrue && byProxies(want.Type) {
				change = max(change, Lowered)
			} else {
				change = Flipped
			}
		default:
			want.LastTransitionTime = had.LastTransitionTime
			if had.Reason != want.Reason || had.ObservedGeneration != want.ObservedGeneration {
				change = max(change, Flipped)
			} else if had.Message != want.Message {
				change = max(change, Wording)
			}
		}
		out = append(out, want)
	}
	for _, had := range stored {
		if meshv1beta2.FindCondition(desired, had.Type) == nil {
			out = append(out, had)
		}
	}
	return out, change
}

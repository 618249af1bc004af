package inject

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Outcome is what happens to a pod at admission.
type Outcome string

// The outcomes.
const (
	// Injected pods run a proxy of ours.
	Injected Outcome = "injected"
	// Untouched pods are admitted as they are.
	Untouched Outcome = "untouched"
	// Denied pods are not created; their controller tries again.
	Denied Outcome = "denied"
)

// Report says what happened to a pod and why, in the same words for the webhook, for "inject -f" and for people.
type Report struct {
	// Pod is "<namespace>/<name>"; a pod that gets its name from the API server is named by its generateName.
	Pod     string  `json:"pod"`
	Outcome Outcome `json:"outcome"`
	// Reason is one sentence: why the pod is untouched or denied, or what it was injected as.
	Reason string `json:"reason"`
	// Node is the identity of an injected pod, "mesh/<mesh>/virtualNode/<name>" or "mesh/<mesh>/virtualGateway/<name>".
	Node string `json:"node,omitempty"`
	// Warnings are shown to whoever creates the pod.
	Warnings []string `json:"warnings,omitempty"`
	// Redirect says what the redirect step will do, one fact per line. Empty for gateways.
	Redirect []string `json:"redirect,omitempty"`
}

// String is the report in lines for a terminal, without a trailing newline.
func (r Report) String() string {
	lines := []string{fmt.Sprintf("%s: %s: %s", r.Pod, r.Outcome, r.Reason)}
	for _, warning := range r.Warnings {
		lines = append(lines, "  warning: "+warning)
	}
	for _, fact := range r.Redirect {
		lines = append(lines, "  "+fact)
	}
	return strings.Join(lines, "\n")
}

func (r *Report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// Denial is a user's mistake that keeps a pod from being created. Its text is shown to the user as it is.
type Denial struct{ Message string }

// Error implements error.
func (d *Denial) Error() string { return d.Message }

func deny(format string, args ...any) *Denial {
	return &Denial{fmt.Sprintf(format, args...)}
}

// podName is how messages name a pod of a namespace.
func podName(namespace string, pod *corev1.Pod) string {
	name := pod.Name
	if name == "" {
		name = pod.GenerateName
	}
	return namespace + "/" + name
}

package inject

import (
	"cmp"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Names of the containers that are ours. They are App Mesh's.
const (
	envoyContainer = "envoy"
	initContainer  = "proxyinit"
)

// Admission is the answer to one pod.
type Admission struct {
	// Pod is the pod to create: a changed copy when it was injected, otherwise the very pod given.
	Pod    *corev1.Pod
	Report Report
	// Unsure is true when the answer rests on something not found or found twice, see Decision.
	Unsure bool
}

// Admit decides about a pod and injects it. The error is ours (a bootstrap that cannot be made), never the user's: a
// user's mistake is an Admission with outcome Denied.
func Admit(pod *corev1.Pod, o Objects, c Config) (Admission, error) {
	d := Decide(pod, o)
	out := Admission{Pod: pod, Unsure: d.Unsure, Report: Report{
		Pod: podName(o.Namespace, pod), Outcome: d.Outcome, Reason: d.Reason, Warnings: d.Warnings,
	}}
	if d.Outcome != Injected {
		return out, nil
	}
	injected, report, err := Inject(pod, d.Target, c)
	report.Pod, report.Warnings = out.Report.Pod, append(d.Warnings, report.Warnings...)
	var denial *Denial
	switch {
	case errors.As(err, &denial):
		out.Report.Outcome, out.Report.Reason, out.Report.Warnings = Denied, denial.Message, report.Warnings
		return out, nil
	case err != nil:
		return out, err
	}
	return Admission{Pod: injected, Report: report}, nil
}

// Inject writes the proxy of t into a copy of the pod. A pod that was injected before comes back equal. The error is a
// *Denial for a user's mistake.
func Inject(pod *corev1.Pod, t Target, c Config) (*corev1.Pod, Report, error) {
	w := &work{
		pod: pod.DeepCopy(), target: t, config: c,
		report: Report{Pod: podName(pod.Namespace, pod), Outcome: Injected, Reason: "injected as " + t.String(), Node: t.Name()},
	}
	var err error
	if w.request, err = readAnnotations(pod, c); err == nil {
		w.warnAboutMistakes()
		w.config.SidecarImage = cmp.Or(w.request.image, c.SidecarImage)
		if t.Gateway != nil {
			err = w.gateway()
		} else {
			err = w.sidecar()
		}
	}
	return w.pod, w.report, err
}

// work is one injection under way.
type work struct {
	pod     *corev1.Pod
	target  Target
	config  Config
	request request
	// originals are what was rewritten, as it was.
	originals Originals
	report    Report
}

// has reports whether the pod has a container of that name, of whatever kind.
func (w *work) has(name string) bool {
	named := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(w.pod.Spec.Containers, named) || slices.ContainsFunc(w.pod.Spec.InitContainers, named)
}

// marked reports whether the pod was injected before.
func (w *work) marked() bool { return w.pod.Annotations[annotationStatus] != "" }

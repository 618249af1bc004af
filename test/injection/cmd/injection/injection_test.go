package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/aftermesh/aftermesh/test/injection"
)

var deploymentArgs = []string{"operator", "--enable-leader-election", "--cni"}

// podSpec is that of the operator with another container before it.
func podSpec(args []string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "beside"}, {Name: operatorContainer, Image: "i", Args: args}}}
}

func operatorDeployment() *appsv1.Deployment {
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr.To[int32](2), Template: corev1.PodTemplateSpec{Spec: podSpec([]string{"operator"})}}}
	d.Generation, d.Status.ObservedGeneration = 3, 3
	return d
}

func TestThePatchReplacesTheArgumentsAndNothingElse(t *testing.T) {
	t.Parallel()
	d := operatorDeployment()
	patch, err := argsPatch(d, deploymentArgs)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(to *appsv1.Deployment) (string, error) {
		before, err := json.Marshal(to)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			t.Fatal(err)
		}
		after, err := decoded.Apply(before)
		return string(after), err
	}
	got, err := apply(d)
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.Template.Spec = podSpec(deploymentArgs)
	if want, _ := json.Marshal(d); !jsonpatch.Equal([]byte(got), want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	moved := operatorDeployment()
	moved.Spec.Template.Spec.Containers = moved.Spec.Template.Spec.Containers[1:]
	if got, err := apply(moved); err == nil {
		t.Errorf("a Deployment that has changed meanwhile became %s", got)
	}
	if _, err := argsPatch(&appsv1.Deployment{}, deploymentArgs); err == nil {
		t.Error("a Deployment without the container was patched")
	}
}

func TestARolloutIsOverWhenOnlyReadyPodsWithTheFlagsAreLeft(t *testing.T) {
	t.Parallel()
	pod := func(args []string, isReady bool) corev1.Pod {
		p := corev1.Pod{Spec: podSpec(args)}
		if isReady {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return p
	}
	good := pod(deploymentArgs, true)
	ending := pod(deploymentArgs, true)
	ending.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1, 0)))
	crashed := pod(deploymentArgs, false)
	crashed.Status.ContainerStatuses = []corev1.ContainerStatus{{
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error"}},
	}}
	unseen := operatorDeployment()
	unseen.Generation++
	for _, c := range []struct {
		name string
		d    *appsv1.Deployment
		pods []corev1.Pod
		want string
	}{
		{"both replicas run", operatorDeployment(), []corev1.Pod{good, good}, ""},
		{"the controller has not seen the change", unseen, []corev1.Pod{good, good}, "has not been seen yet"},
		{"an old pod runs beside", operatorDeployment(), []corev1.Pod{good, good, pod([]string{"operator"}, true)}, "there are 3 pods, want 2"},
		{"a replica is missing", operatorDeployment(), []corev1.Pod{good}, "there are 1 pods, want 2"},
		{"a pod is ending", operatorDeployment(), []corev1.Pod{good, ending}, "is still ending"},
		{"a pod has the old flags", operatorDeployment(), []corev1.Pod{good, pod([]string{"operator"}, true)}, "runs with other arguments"},
		{"a pod is not ready", operatorDeployment(), []corev1.Pod{good, pod(deploymentArgs, false)}, "is not ready"},
		{"a pod does not start, and kubelet says why", operatorDeployment(), []corev1.Pod{good, crashed}, "has ended with code 2: Error"},
	} {
		err := rolledOut(c.d, c.pods, deploymentArgs)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestTheReportNamesWhatFailed(t *testing.T) {
	t.Parallel()
	cases := injection.Cases()
	var results []injection.Result
	for _, c := range cases {
		results = append(results, injection.Result{Case: c})
	}
	last := &results[len(results)-1]
	last.Differences = []string{"it was otherwise"}
	for _, c := range []struct{ format, want string }{
		{"table", "FAILED: " + last.Case.Name() + "\n  it was otherwise\n  with --"},
		{"table", injection.Summarize(results).String()},
		{"table", " cases, 1 failed\n"},
		{"json", `"it was otherwise"`},
		{"json", `"key": "appmesh.k8s.aws/ports"`},
	} {
		var out strings.Builder
		if err := report(&out, results, c.format); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s without %q:\n%s", c.format, c.want, out.String())
		}
	}
}

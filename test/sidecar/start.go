package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/ptr"
)

const (
	echoImage      = "aftermesh/echo:dev"
	aftermeshImage = "aftermesh/aftermesh:dev"
	// starts is how many pods of each kind are started, in turn.
	starts = 40
	// medianBar and p95Bar are what injection may add to the start of a pod, in seconds.
	medianBar, p95Bar = 1, 2
)

// apply writes manifests to the cluster.
func (l *lab) apply(ctx context.Context, text string) error {
	dir, err := os.MkdirTemp("", "sidecar")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "manifest.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	_, err = l.kubectl.Run(ctx, "apply", "-f", path)
	return err
}

// start compares injected pods with pods that have as many containers which do nothing.
func (l *lab) start(ctx context.Context) error {
	if err := l.mesh(ctx, backends); err != nil {
		return err
	}
	app := corev1.Container{
		Name: "app", Image: echoImage, ImagePullPolicy: corev1.PullIfNotPresent,
		Env: []corev1.EnvVar{{Name: "ECHO_CONFIG", Value: `{"identity":"front","listens":[{"port":8080,"protocol":"http"}]}`}},
	}
	injected := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "injected", Labels: map[string]string{"app": "front"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{app}, TerminationGracePeriodSeconds: ptr.To[int64](0)},
	}
	empty := injected.DeepCopy()
	empty.Name, empty.Annotations = "empty", map[string]string{"appmesh.k8s.aws/sidecarInjectorWebhook": "disabled"}
	empty.Spec.InitContainers = []corev1.Container{
		{Name: "once", Image: aftermeshImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"version"}},
		{Name: "beside", Image: echoImage, ImagePullPolicy: corev1.PullIfNotPresent, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)},
	}
	took := map[string][]float64{}
	for i := range starts {
		for _, p := range []*corev1.Pod{injected, empty} {
			pod := p.DeepCopy()
			pod.Name = fmt.Sprintf("%s-%d", p.Name, i)
			seconds, err := l.untilReady(ctx, pod)
			if err != nil {
				return err
			}
			took[p.Name] = append(took[p.Name], seconds)
		}
	}
	for _, q := range []struct {
		name string
		at   float64
		bar  float64
	}{{"median", 0.5, medianBar}, {"p95", 0.95, p95Bar}} {
		with, without := quantile(took["injected"], q.at), quantile(took["empty"], q.at)
		l.figure(fmt.Sprintf("injection adds to the start of a pod, %s (%.2f s against %.2f s)", q.name, with, without), with-without, "s", q.bar)
	}
	return nil
}

// untilReady creates a pod, returns the seconds until it is Ready, and deletes it.
func (l *lab) untilReady(ctx context.Context, pod *corev1.Pod) (float64, error) {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pods := l.client.CoreV1().Pods(namespace)
	w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", pod.Name).String()})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	start := time.Now()
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	if want := pod.Labels["app"] == "front" && pod.Annotations == nil; want != (made.Annotations["aftermesh.dev/node"] != "") {
		return 0, fmt.Errorf("pod %s: injected is %v", pod.Name, !want)
	}
	ready := false
	seconds := 0.0
	for e := range w.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && !ready {
				ready, seconds = true, time.Since(start).Seconds()
			}
		}
		if ready {
			break
		}
	}
	if !ready {
		return 0, fmt.Errorf("pod %s was not ready within %v", pod.Name, patience)
	}
	if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}); err != nil {
		return 0, err
	}
	// Kubelet looks at containers once a second: without a pause of any length every pod would meet it at the same moment of that second.
	const settle, second = time.Second, 1000
	time.Sleep(settle + time.Duration(rand.IntN(second))*time.Millisecond)
	return seconds, nil
}

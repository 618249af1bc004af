package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	namespace = "sidecar"
	// podRate and podCount are the creations that the webhook is asked about.
	podRate, podCount = 20, 1200
	// webhookBar is the latency that 99 of 100 injections may have; it is a bound of the API server's histogram.
	webhookBar = 0.025
)

// mesh applies a mesh of as many services as said, of which the node front calls ten.
func (l *lab) mesh(ctx context.Context, services int) error {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Namespace
metadata: {name: %[1]s, labels: {mesh: %[1]s, appmesh.k8s.aws/sidecarInjectorWebhook: enabled}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: %[1]s}
spec: {namespaceSelector: {matchLabels: {mesh: %[1]s}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: front}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: front.%[1]s.svc.cluster.local}}
  backends:
`, namespace)
	for i := range backends {
		fmt.Fprintf(&b, "  - {virtualService: {virtualServiceRef: {name: s%d}}}\n", i)
	}
	for i := range services {
		fmt.Fprintf(&b, `---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: s%[2]d, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: s%[2]d}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: s%[2]d.%[1]s.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: s%[2]d, namespace: %[1]s}
spec: {awsName: s%[2]d.%[1]s.svc.cluster.local, provider: {virtualNode: {virtualNodeRef: {name: s%[2]d}}}}
`, namespace, i)
	}
	return l.apply(ctx, b.String())
}

// webhook tries to create pods at a steady rate and reads how long the API server waited for the webhook.
func (l *lab) webhook(ctx context.Context) error {
	if err := l.mesh(ctx, backends); err != nil {
		return err
	}
	pod := func() *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "try-", Namespace: namespace, Labels: map[string]string{"app": "front"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: echoImage, ImagePullPolicy: corev1.PullIfNotPresent}}},
		}
	}
	try := func() error {
		p, err := l.client.CoreV1().Pods(namespace).Create(ctx, pod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && len(p.Spec.InitContainers) == 0 {
			err = errors.New("the pod was not injected")
		}
		return err
	}
	const patience = 20 * time.Second
	err := try()
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = try() {
		time.Sleep(200 * time.Millisecond) // the default service account comes with the namespace, a moment later
	}
	if err != nil {
		return err
	}
	before, err := l.histogram(ctx)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var seconds []float64
	var failed error
	start := time.Now()
	for i := range podCount {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / podRate)))
		wg.Go(func() {
			begin := time.Now()
			err := try()
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			seconds = append(seconds, time.Since(begin).Seconds())
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	after, err := l.histogram(ctx)
	if err != nil {
		return err
	}
	all := after[math.Inf(1)] - before[math.Inf(1)]
	slow := all - (after[webhookBar] - before[webhookBar])
	if all < podCount {
		return fmt.Errorf("the API server counted %v injections of %d", all, podCount)
	}
	l.figure(fmt.Sprintf("injections that take more than %.0f ms, %.0f at %d per second", 1000*webhookBar, all, podRate), 100*slow/all, "%", 1)
	l.figure("creation of a pod as its client sees it, p50", 1000*quantile(seconds, 0.5), "ms", 0)
	l.figure("creation of a pod as its client sees it, p99", 1000*quantile(seconds, 0.99), "ms", 0)
	return nil
}

// histogram is the API server's count of injections by the bound of their latency, in seconds.
func (l *lab) histogram(ctx context.Context) (map[float64]float64, error) {
	text, err := l.kubectl.Run(ctx, "get", "--raw", "/metrics")
	if err != nil {
		return nil, err
	}
	out := map[float64]float64{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "apiserver_admission_webhook_admission_duration_seconds_bucket{") || !strings.Contains(line, `name="mpod.appmesh.k8s.aws"`) {
			continue
		}
		_, rest, _ := strings.Cut(line, `le="`)
		bound, _, _ := strings.Cut(rest, `"`)
		le, err := strconv.ParseFloat(bound, 64)
		n, err2 := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		out[le] += n
	}
	return out, lines.Err()
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// backends of the node that is measured.
	backends = 10
	// few and many services are in the mesh beside.
	few, many = 10, 1000
	// proxies is how many are measured each time; their median counts.
	proxies = 3
	// pause is how long a proxy is left alone before it is measured.
	pause = 20 * time.Second
	// growthBar bounds the memory in the big mesh against the small one, stockBar against a stock Envoy.
	growthBar, stockBar = 1.05, 1.25
)

// memory measures sidecars whose node calls ten services, in a small and in a big mesh, and stock Envoys that have nothing to do.
func (l *lab) memory(ctx context.Context) error {
	if err := l.mesh(ctx, few); err != nil {
		return err
	}
	small, err := l.sidecars(ctx)
	if err != nil {
		return err
	}
	if err := l.mesh(ctx, many); err != nil {
		return err
	}
	big, err := l.sidecars(ctx)
	if err != nil {
		return err
	}
	stock, err := l.stock(ctx)
	if err != nil {
		return err
	}
	const mega = 1000
	l.figure(fmt.Sprintf("RssAnon of a sidecar, %d backends, mesh of %d services", backends, few), small/mega, "MB", 0)
	l.figure(fmt.Sprintf("RssAnon of a sidecar, %d backends, mesh of %d services", backends, many), big/mega, "MB", 0)
	l.figure("RssAnon of a stock Envoy with no configuration", stock/mega, "MB", 0)
	l.figure("big mesh against small mesh", big/small, "times", growthBar)
	l.figure("sidecar against stock Envoy", max(big, small)/stock, "times", stockBar)
	_, err = l.kubectl.Run(ctx, "delete", "namespace", namespace, "--wait=false")
	return err
}

// sidecars runs fresh pods of the node and returns the median of their proxies' memory, in kB.
func (l *lab) sidecars(ctx context.Context) (float64, error) {
	const name = "measured"
	manifest := fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: %[4]q, imagePullPolicy: IfNotPresent, env: [{name: ECHO_CONFIG, value: '{"identity":"front","listens":[{"port":8080,"protocol":"http"}]}'}]}]
`, namespace, name, proxies, echoImage)
	if err := l.apply(ctx, manifest); err != nil {
		return 0, err
	}
	if _, err := l.kubectl.Run(ctx, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=120s"); err != nil {
		return 0, err
	}
	time.Sleep(pause)
	pods, err := l.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=front"})
	if err != nil {
		return 0, err
	}
	var sizes []float64
	for _, p := range pods.Items {
		size, err := envoyOf(string(p.UID))
		if err != nil {
			return 0, fmt.Errorf("pod %s: %w", p.Name, err)
		}
		sizes = append(sizes, size)
	}
	if len(sizes) != proxies {
		return 0, fmt.Errorf("%d pods instead of %d", len(sizes), proxies)
	}
	_, err = l.kubectl.Run(ctx, "-n", namespace, "delete", "deployment/"+name, "--cascade=foreground", "--timeout=60s")
	return quantile(sizes, 0.5), err
}

// envoyOf returns the RssAnon in kB of the Envoy that runs in a pod of this machine.
func envoyOf(uid string) (float64, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !bytes.HasPrefix(command, []byte("/usr/local/bin/envoy\x00")) {
			continue // processes come and go
		}
		group, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err == nil && (strings.Contains(string(group), uid) || strings.Contains(string(group), strings.ReplaceAll(uid, "-", "_"))) {
			return rssAnon(dir)
		}
	}
	return 0, errors.New("no Envoy runs in it on this machine")
}

func rssAnon(dir string) (float64, error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if size, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			return strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(size), " kB"), 64)
		}
	}
	return 0, fmt.Errorf("%s/status has no RssAnon", dir)
}

// stock runs Envoys with as many workers and nothing but an admin pipe, and returns the median of their memory, in kB.
func (l *lab) stock(ctx context.Context) (float64, error) {
	dir, err := os.MkdirTemp("", "stock")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var sizes []float64
	for i := range proxies {
		config := fmt.Sprintf("admin: {address: {pipe: {path: %s/admin%d}}}", dir, i)
		cmd := exec.CommandContext(ctx, l.layout.Envoy("1.40.0"), "--config-yaml", config, "--concurrency", "2", "--disable-hot-restart", "--log-level", "error")
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		defer func() {
			_ = cmd.Process.Kill() // it may have ended already
			_ = cmd.Wait()
		}()
		time.Sleep(pause / proxies)
		size, err := rssAnon(fmt.Sprintf("/proc/%d", cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		sizes = append(sizes, size)
	}
	return quantile(sizes, 0.5), nil
}

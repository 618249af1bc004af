package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/test/echo/order"
	"github.com/aftermesh/aftermesh/test/install"
)

const (
	cniNamespace   = "steady-cni"
	earlyNamespace = "steady-cni-early"
	// hostPlugins is where this machine's runtime finds its plugins.
	hostPlugins = "/usr/lib/cni"
	records     = "/run/aftermesh-cni"
)

// cni installs the plugin, runs pods in a namespace of the strictest Pod Security Standard, and sends a load through them.
func (s *stage) cni(ctx context.Context) error {
	networks := s.layout.Cache("cluster", "cni", "net.d")
	manifest, err := s.kubectl.Run(ctx, "kustomize", install.Root(s.layout)+"/config/cni")
	if err != nil {
		return err
	}
	for _, ns := range []string{cniNamespace, earlyNamespace} {
		if err := s.fresh(ctx, ns); err != nil {
			return err
		}
	}
	s.leaveCNI(networks) // what an earlier run may have left
	early, err := s.earlyPod(ctx)
	if err != nil {
		return err
	}
	if err := s.applyText(ctx, strings.NewReplacer("/opt/cni/bin", hostPlugins, "/etc/cni/net.d", networks).Replace(manifest)); err != nil {
		return err
	}
	s.running = append(s.running, func() { s.leaveCNI(networks) })
	if err := s.daemonSet(ctx); err != nil {
		return err
	}
	found, start := &findings{bad: map[string]int{}}, time.Now()
	s.found("cni", "a pod that was there before the plugin is recreated", start, found, s.repair(ctx, found, early))
	if err := s.apply(ctx, "cni.yaml"); err != nil {
		return err
	}
	if err := s.rolled(ctx, cniNamespace, "backend", "front"); err != nil {
		return err
	}
	url := "http://web." + cniNamespace + ".svc.cluster.local:8080/"
	if err := s.send(ctx, cniNamespace, url, 100); err != nil {
		return err
	}
	defer func() { _ = s.finish(ctx) }()
	if err := s.step(ctx, "cni", "pods without NET_ADMIN call each other for 20 s", func() error {
		time.Sleep(20 * time.Second)
		return nil
	}); err != nil {
		return err
	}
	return s.passedEnvoy(ctx, url)
}

// daemonSet waits until the plugin is in place, as the DaemonSet is told now.
func (s *stage) daemonSet(ctx context.Context) error {
	_, err := s.kubectl.Run(ctx, "-n", "kube-system", "rollout", "status", "daemonset/aftermesh-cni", "--timeout=60s")
	return err
}

// earlyPod starts a pod in CNI form while there is no plugin.
func (s *stage) earlyPod(ctx context.Context) (*corev1.Pod, error) {
	if err := s.apply(ctx, "cni-early.yaml"); err != nil {
		return nil, err
	}
	if err := s.rolled(ctx, earlyNamespace, "early"); err != nil {
		return nil, err
	}
	return s.podOf(ctx, earlyNamespace, "early")
}

// repair waits until the watcher tells the pod that it is not redirected, allows it to delete such pods, and waits for one that is.
func (s *stage) repair(ctx context.Context, f *findings, old *corev1.Pod) error {
	f.check("the early pod's proxy is passed by", inbound(ctx, old, false))
	f.check("the early pod is told", eventually(ctx, soon, func() error { return s.told(ctx, old, "NotRedirected", "") }))
	now, err := s.podOf(ctx, earlyNamespace, "early")
	if err != nil {
		return err
	}
	f.check("nobody deletes it unless told so", ifNot(now.UID == old.UID, "it is gone"))
	for _, change := range [][2]string{ // the right is the one that config/cni/rbac.yaml names
		{"clusterrole/aftermesh-cni", `[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["pods"],"verbs":["delete"]}}]`},
		{"daemonset/aftermesh-cni", `[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--repair=delete"}]`},
	} {
		if _, err := s.kubectl.Run(ctx, "-n", "kube-system", "patch", change[0], "--type=json", "-p", change[1]); err != nil {
			return err
		}
	}
	if err := s.daemonSet(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, starting, func() (err error) {
		now, err = s.podOf(ctx, earlyNamespace, "early")
		if err == nil && (now.UID == old.UID || !is(now, corev1.PodReady)) {
			err = fmt.Errorf("pod %s is still there, or not ready", now.Name)
		}
		return err
	}); err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(records, string(now.UID)))
	f.check("the plugin redirected it", err)
	f.check("its proxy sees requests", inbound(ctx, now, true))
	time.Sleep(12 * time.Second) // two looks of the watcher
	again, err := s.podOf(ctx, earlyNamespace, "early")
	if err != nil {
		return err
	}
	f.check("it stays", ifNot(again.UID == now.UID, "it was deleted too"))
	return nil
}

// inbound makes a request to a pod from outside, and returns an error unless its proxy saw it, or not.
func inbound(ctx context.Context, p *corev1.Pod, redirected bool) error {
	status, body, err := fetch(ctx, p, 8080, "/")
	if err := errors.Join(err, ifNot(status == http.StatusOK, fmt.Sprintf("status %d: %s", status, body))); err != nil {
		return err
	}
	_, stats, err := fetch(ctx, p, adminPort, "/stats?filter=^http.ingress.downstream_rq_2xx$")
	_, n, _ := strings.Cut(strings.TrimSpace(stats), ": ")
	if saw := n != "" && n != "0"; err == nil && saw != redirected {
		err = fmt.Errorf("the proxy counts %q requests", n)
	}
	return err
}

// passedEnvoy fails unless both proxies took part: the caller's answers in the name of Envoy, the backend's counts requests.
func (s *stage) passedEnvoy(ctx context.Context, url string) error {
	var got order.HTTPResult
	if err := s.loads[0].call(ctx, "/request", order.HTTP{URL: url, Count: 1}, &got); err != nil {
		return err
	}
	if len(got.Groups) != 1 || got.Groups[0].Headers["Server"] != "envoy" {
		return fmt.Errorf("the answer did not pass the caller's proxy: %+v", got.Groups)
	}
	pod, err := s.kubectl.Run(ctx, "-n", cniNamespace, "get", "pods", "-l", "app=backend", "-o", "jsonpath={.items[0].metadata.name}")
	if err != nil {
		return err
	}
	stats, err := s.kubectl.Run(ctx, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:9901/proxy/stats?filter=^http.ingress.downstream_rq_2xx$", cniNamespace, pod))
	if err != nil {
		return err
	}
	if _, n, _ := strings.Cut(strings.TrimSpace(stats), ": "); n == "" || n == "0" {
		return errors.New("the backend's proxy saw no request: " + stats)
	}
	return nil
}

// leaveCNI takes the plugin away again, while this machine's other pods go on.
func (s *stage) leaveCNI(networks string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.kubectl.Run(ctx, "-n", "kube-system", "delete", "daemonset/aftermesh-cni", "--cascade=foreground", "--ignore-not-found"); err != nil {
		s.say("%v", err)
	}
	out, err := exec.CommandContext(ctx, s.layout.Bin("aftermesh"), "cni", "uninstall", "--bin-dir="+hostPlugins, "--net-dir="+networks, "--record-dir="+records).CombinedOutput()
	if err != nil {
		s.say("take the CNI plugin away: %v: %s", err, out)
	}
}

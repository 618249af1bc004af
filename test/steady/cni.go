package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/test/echo/order"
	"github.com/aftermesh/aftermesh/test/install"
)

const (
	cniNamespace = "steady-cni"
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
	if err := s.fresh(ctx, cniNamespace); err != nil {
		return err
	}
	if err := s.applyText(ctx, strings.NewReplacer("/opt/cni/bin", hostPlugins, "/etc/cni/net.d", networks).Replace(manifest)); err != nil {
		return err
	}
	s.running = append(s.running, func() { s.leaveCNI(networks) })
	if _, err := s.kubectl.Run(ctx, "-n", "kube-system", "rollout", "status", "daemonset/aftermesh-cni", "--timeout=60s"); err != nil {
		return err
	}
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
	if _, err := s.kubectl.Run(ctx, "-n", "kube-system", "delete", "daemonset/aftermesh-cni", "--cascade=foreground"); err != nil {
		s.say("%v", err)
	}
	out, err := exec.CommandContext(ctx, s.layout.Bin("aftermesh"), "cni", "uninstall", "--bin-dir="+hostPlugins, "--net-dir="+networks, "--record-dir="+records).CombinedOutput()
	if err != nil {
		s.say("take the CNI plugin away: %v: %s", err, out)
	}
}

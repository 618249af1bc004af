package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

const (
	podsNamespace    = "steady-pods"
	outsideNamespace = "steady-outside"
	// rollingRate is the least load of each protocol under which pods are replaced, in requests per second.
	rollingRate = 300
	// restartsEach is how often the backend and the gateway are replaced.
	restartsEach = 10
)

// podsReady puts the mesh of the scenarios about pods in place.
func (s *stage) podsReady(ctx context.Context) error {
	for _, ns := range []string{podsNamespace, outsideNamespace} {
		if err := s.fresh(ctx, ns); err != nil {
			return err
		}
	}
	if err := s.apply(ctx, "pods.yaml"); err != nil {
		return err
	}
	return errors.Join(
		s.rolled(ctx, podsNamespace, "backend", "front", "front-rpc", "entrance"),
		s.rolled(ctx, outsideNamespace, "stranger", "stranger-rpc"),
	)
}

// rolling replaces all pods of a backend, and of a gateway, while callers keep their connections.
func (s *stage) rolling(ctx context.Context) error {
	if err := s.podsReady(ctx); err != nil {
		return err
	}
	for _, r := range []struct {
		deployment, namespace, app, host string
		http, grpc                       int
	}{
		{"backend", podsNamespace, "front", "web." + podsNamespace, 8080, 8081},
		{"entrance", outsideNamespace, "stranger", "entrance." + podsNamespace, 8088, 8089},
	} {
		host := r.host + ".svc.cluster.local"
		rpc := order.HTTP{Protocol: "grpc", URL: fmt.Sprintf("%s:%d/echo.Echo/Get", host, r.grpc)}
		if r.deployment == "backend" {
			rpc.URL = fmt.Sprintf("rpc.%s.svc.cluster.local:%d/echo.Echo/Get", podsNamespace, r.grpc)
		}
		err := errors.Join(
			s.sendFrom(ctx, r.namespace, r.app, order.HTTP{URL: fmt.Sprintf("http://%s:%d/", host, r.http)}, rollingRate),
			s.sendFrom(ctx, r.namespace, r.app+"-rpc", rpc, rollingRate),
		)
		if err == nil {
			err = s.step(ctx, "rolling", fmt.Sprintf("%d rolling restarts of the %s, HTTP/1.1 and gRPC", restartsEach, r.deployment), func() error {
				return s.replace(ctx, r.deployment)
			})
		}
		if err := errors.Join(err, s.finish(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// replace restarts a deployment again and again, and waits for the last of its old pods each time.
func (s *stage) replace(ctx context.Context, deployment string) error {
	for range restartsEach {
		if _, err := s.kubectl.Run(ctx, "-n", podsNamespace, "rollout", "restart", "deployment/"+deployment); err != nil {
			return err
		}
		if err := s.rolled(ctx, podsNamespace, deployment); err != nil {
			return err
		}
		time.Sleep(2 * time.Second)
	}
	time.Sleep(35 * time.Second) // until the last old pods have ended
	return nil
}

// applyText writes manifests to the cluster.
func (s *stage) applyText(ctx context.Context, text string) error {
	return s.onText(ctx, text, "apply")
}

// onText runs a verb of kubectl on manifests.
func (s *stage) onText(ctx context.Context, text string, verb ...string) error {
	dir, err := os.MkdirTemp("", "steady")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "manifest.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	_, err = s.kubectl.Run(ctx, append(verb, "-f", path)...)
	return err
}

// farewell lets pods call out for 20 s after their stop signal.
func (s *stage) farewell(ctx context.Context) error {
	if err := s.podsReady(ctx); err != nil {
		return err
	}
	const pods = 5
	config := fmt.Sprintf(`{"identity":"leaver","farewell":{"url":"http://web.%s.svc.cluster.local:8080/","seconds":20}}`, podsNamespace)
	if err := s.applyText(ctx, fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: leaver, namespace: %s}
spec:
  replicas: %d
  selector: {matchLabels: {app: leaver}}
  template:
    metadata: {labels: {app: leaver, role: caller}}
    spec:
      terminationGracePeriodSeconds: 40
      containers: [{name: app, image: "aftermesh/echo:dev", imagePullPolicy: IfNotPresent, env: [{name: ECHO_CONFIG, value: '%s'}]}]
`, podsNamespace, pods, config)); err != nil {
		return err
	}
	if err := s.rolled(ctx, podsNamespace, "leaver"); err != nil {
		return err
	}
	list, err := s.kubectl.Run(ctx, "-n", podsNamespace, "get", "pods", "-l", "app=leaver", "-o", "name")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	start := time.Now()
	names := strings.Fields(list)
	said := make([]bytes.Buffer, len(names))
	var logs []*exec.Cmd
	for i, name := range names {
		follow := exec.CommandContext(ctx, s.kubectl.Program, "--kubeconfig", s.kubectl.Kubeconfig, "-n", podsNamespace, "logs", "-f", name, "-c", "app")
		follow.Stdout = &said[i]
		if err := follow.Start(); err != nil {
			return err
		}
		logs = append(logs, follow)
	}
	time.Sleep(2 * time.Second) // until the logs are followed
	if _, err := s.kubectl.Run(ctx, "-n", podsNamespace, "delete", "deployment/leaver", "--wait=false"); err != nil {
		return err
	}
	r := row{Scenario: "farewell", What: fmt.Sprintf("%d pods call out for 20 s after their stop signal", pods), Failures: map[string]int{}}
	for i, l := range logs {
		if err := l.Wait(); err != nil {
			return fmt.Errorf("follow the log of %s: %w", names[i], err)
		}
		var c order.Counts
		if err := json.Unmarshal(bytes.TrimSpace(said[i].Bytes()), &c); err != nil {
			return fmt.Errorf("%s said %q: %w", names[i], said[i].String(), err)
		}
		r.Requests += c.Requests
		for what, n := range failures(order.Counts{}, c) {
			r.Failures[what] += n
			r.Failed += n
		}
	}
	r.Seconds = time.Since(start).Seconds()
	s.rows = append(s.rows, r)
	s.say("%s: %d requests, %d failed", r.What, r.Requests, r.Failed)
	return nil
}

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
	"slices"
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

// starts runs pods whose first act is a request, as Jobs: their first request must succeed, and they must end by themselves.
func (s *stage) starts(ctx context.Context) error {
	if err := s.podsReady(ctx); err != nil {
		return err
	}
	const batch, batches, jobs = 10, 20, 100
	failures, late := map[string]int{}, map[string]int{}
	start := time.Now()
	for b := range batches {
		names := make([]string, batch)
		for i := range names {
			names[i] = fmt.Sprintf("start-%d", b*batch+i)
		}
		if err := s.applyText(ctx, s.jobs(names)); err != nil {
			return err
		}
		for _, name := range names {
			why, lag, err := s.job(ctx, name)
			if err != nil {
				return err
			}
			if why != "" {
				failures[why]++
			}
			if lag > 2*time.Second && b*batch < jobs {
				late[fmt.Sprintf("ended %v after its main container", lag)]++
			}
		}
		s.say("%d of %d pods started, their first request failed %d times", (b+1)*batch, batch*batches, sum(failures))
	}
	seconds := time.Since(start).Seconds()
	s.rows = append(s.rows,
		row{Scenario: "starts", What: "pods whose first act is a request", Seconds: seconds, Requests: batch * batches, Failed: sum(failures), Failures: failures},
		row{Scenario: "starts", What: "Jobs that end 2 s after their main container", Seconds: seconds, Requests: jobs, Failed: sum(late), Failures: late},
	)
	return nil
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// jobs are manifests of Jobs that make one request each.
func (s *stage) jobs(names []string) string {
	config := fmt.Sprintf(`{"identity":"job","first":"http://web.%s.svc.cluster.local:8080/","once":true}`, podsNamespace)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, `---
apiVersion: batch/v1
kind: Job
metadata: {name: %s, namespace: %s}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {role: caller}}
    spec:
      restartPolicy: Never
      containers: [{name: app, image: "aftermesh/echo:dev", imagePullPolicy: IfNotPresent, env: [{name: ECHO_CONFIG, value: '%s'}]}]
`, name, podsNamespace, config)
	}
	return b.String()
}

// job waits for a Job's end. why is empty when it succeeded; lag is how long after its main container its pod ended, to the second.
func (s *stage) job(ctx context.Context, name string) (why string, lag time.Duration, err error) {
	type state struct {
		Terminated *struct {
			FinishedAt time.Time
			Reason     string
		}
	}
	var pods struct {
		Items []struct {
			Status struct {
				Phase                                    string
				ContainerStatuses, InitContainerStatuses []struct {
					Name  string
					State state
				}
			}
		}
	}
	const patience = 2 * time.Minute
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		out, err := s.kubectl.Run(ctx, "-n", podsNamespace, "get", "pods", "-l", "job-name="+name, "-o", "json")
		if err != nil {
			return "", 0, err
		}
		if err := json.Unmarshal([]byte(out), &pods); err != nil {
			return "", 0, err
		}
		if len(pods.Items) == 0 || pods.Items[0].Status.Phase != "Succeeded" && pods.Items[0].Status.Phase != "Failed" {
			continue
		}
		st := pods.Items[0].Status
		var main, last time.Time
		for _, c := range slices.Concat(st.ContainerStatuses, st.InitContainerStatuses) {
			if c.State.Terminated == nil {
				continue
			}
			if c.Name == "app" {
				main = c.State.Terminated.FinishedAt
			}
			if c.State.Terminated.FinishedAt.After(last) {
				last = c.State.Terminated.FinishedAt
			}
		}
		if st.Phase == "Failed" {
			why = "the first request failed"
		}
		return why, last.Sub(main), nil
	}
	return fmt.Sprintf("did not end within %v", patience), 0, nil
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

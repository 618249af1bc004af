package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// startBatch Jobs are made at a time, in startBatches.
	startBatch, startBatches = 10, 20
	// judgedJobs of them are judged by when they end, beside as many Jobs without a proxy.
	judgedJobs = 100
	// endBar is how long after its main container the last container of a Job's pod may take to end.
	endBar = 2 * time.Second
)

// starts runs pods whose first act is a request, as Jobs: their first request must succeed, and they must end by themselves, as soon as
// their main container has. Jobs outside the mesh run between them and say what of that time is Kubernetes' own.
func (s *stage) starts(ctx context.Context) error {
	if err := s.podsReady(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ends, err := s.watchEnds(ctx)
	if err != nil {
		return err
	}
	meshed, plain := &jobRun{kind: "start", failures: map[string]int{}}, &jobRun{kind: "plain", failures: map[string]int{}}
	start := time.Now()
	for b := range startBatches {
		if err := s.batch(ctx, ends, meshed, b); err != nil {
			return err
		}
		if b < judgedJobs/startBatch {
			if err := s.batch(ctx, ends, plain, b); err != nil {
				return err
			}
		}
		s.say("%d of %d pods started, their first request failed %d times", (b+1)*startBatch, startBatch*startBatches, sum(meshed.failures))
	}
	judged, late := meshed.proxies[:min(judgedJobs, len(meshed.proxies))], map[string]int{}
	for _, lag := range judged {
		if lag > endBar {
			late[fmt.Sprintf("%v", lag.Round(100*time.Millisecond))]++
		}
	}
	seconds := time.Since(start).Seconds()
	s.rows = append(s.rows,
		row{Scenario: "starts", What: "pods whose first act is a request", Seconds: seconds, Requests: startBatch * startBatches, Failed: sum(meshed.failures), Failures: meshed.failures},
		row{Scenario: "starts", What: "after a Job's main container ends its proxy: " + spread(judged), Seconds: seconds, Requests: len(judged), Failed: sum(late), Failures: late},
		row{Scenario: "starts", What: "then the pod is Succeeded: " + spread(meshed.pods) + "; without a proxy " + spread(plain.pods), Requests: len(meshed.pods)},
		row{Scenario: "starts", What: "and the Job Complete: " + spread(meshed.jobs) + "; without a proxy " + spread(plain.jobs), Requests: len(meshed.jobs) + len(plain.jobs), Failed: sum(plain.failures), Failures: plain.failures},
	)
	return nil
}

// spread says where times lie.
func spread(lags []time.Duration) string {
	if len(lags) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(lags))
	return fmt.Sprintf("median %.2f s, at most %.2f s", sorted[len(sorted)/2].Seconds(), sorted[len(sorted)-1].Seconds())
}

// jobRun is what came of the Jobs of one kind: "start" in the mesh, "plain" without a proxy.
type jobRun struct {
	kind     string
	failures map[string]int
	// Times from the end of the main container: to that of the proxy, to what the pod and the Job say.
	proxies, pods, jobs []time.Duration
}

// batch runs some Jobs at once and waits for them.
func (s *stage) batch(ctx context.Context, ends *ends, r *jobRun, number int) error {
	names := make([]string, startBatch)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", r.kind, number*startBatch+i)
	}
	if err := s.applyText(ctx, s.jobs(names, r.kind == "plain")); err != nil {
		return err
	}
	for _, name := range names {
		why, err := s.job(ctx, ends, name, r)
		if err != nil {
			return err
		}
		if why != "" {
			r.failures[why]++
		}
	}
	return nil
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// jobs are manifests of Jobs that make one request each, with a proxy or plain.
func (s *stage) jobs(names []string, plain bool) string {
	mode := "enabled"
	if plain {
		mode = "disabled"
	}
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
    metadata: {labels: {role: caller}, annotations: {appmesh.k8s.aws/sidecarInjectorWebhook: %s}}
    spec:
      restartPolicy: Never
      containers: [{name: app, image: "aftermesh/echo:dev", imagePullPolicy: IfNotPresent, env: [{name: ECHO_CONFIG, value: '%s'}]}]
`, name, podsNamespace, mode, config)
	}
	return b.String()
}

// ends are the moments in which pods and Jobs ended, as they were seen: what they say themselves has no fractions of a second.
type ends struct {
	mu sync.Mutex
	// pods by the name of their Job, jobs by their own.
	pods, jobs map[string]time.Time
	failed     map[string]bool
}

func (e *ends) of(job string) (pod, end time.Time, failed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pods[job], e.jobs[job], e.failed[job]
}

// watched is as much of a pod or a Job as tells its end.
type watched struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Status struct {
		Phase      string
		Conditions []struct{ Type, Status string }
	}
}

func (e *ends) note(w *watched) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := func(m map[string]time.Time, name string) {
		if _, ok := m[name]; !ok {
			m[name] = time.Now()
		}
	}
	if w.Kind == "Pod" {
		if w.Status.Phase == "Succeeded" || w.Status.Phase == "Failed" {
			seen(e.pods, w.Metadata.Labels["job-name"])
		}
		return
	}
	for _, c := range w.Status.Conditions {
		if c.Status == "True" && (c.Type == "Complete" || c.Type == "Failed") {
			seen(e.jobs, w.Metadata.Name)
			e.failed[w.Metadata.Name] = c.Type == "Failed"
		}
	}
}

// watchEnds notes the ends of pods and Jobs until ctx ends.
func (s *stage) watchEnds(ctx context.Context) (*ends, error) {
	e := &ends{pods: map[string]time.Time{}, jobs: map[string]time.Time{}, failed: map[string]bool{}}
	for _, kind := range []string{"pods", "jobs"} {
		watch := exec.CommandContext(ctx, s.kubectl.Program, "--kubeconfig", s.kubectl.Kubeconfig, "-n", podsNamespace, "get", kind, "--watch", "-o", "json")
		out, err := watch.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := watch.Start(); err != nil {
			return nil, err
		}
		go func() {
			defer func() { _ = watch.Wait() }() // it is killed with ctx
			for d := json.NewDecoder(out); ; {
				w := &watched{}
				if d.Decode(w) != nil {
					return
				}
				e.note(w)
			}
		}()
	}
	return e, nil
}

// job waits for a Job's end and notes how long that took after its main container had ended; why is empty when it is complete.
func (s *stage) job(ctx context.Context, ends *ends, name string, r *jobRun) (why string, err error) {
	const patience = 2 * time.Minute
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		pod, end, failed := ends.of(name)
		if failed {
			return "the first request failed", nil
		}
		if pod.IsZero() || end.IsZero() {
			continue
		}
		main, err := s.lastWord(ctx, name, "app")
		if err != nil {
			return "", err
		}
		r.pods, r.jobs = append(r.pods, pod.Sub(main)), append(r.jobs, end.Sub(main))
		if r.kind == "start" {
			proxy, err := s.lastWord(ctx, name, "envoy")
			if err != nil {
				return "", err
			}
			r.proxies = append(r.proxies, proxy.Sub(main))
		}
		return "", nil
	}
	return fmt.Sprintf("did not end within %v", patience), nil
}

// lastWord is when a container of a Job's pod wrote its last line, which both the application and Envoy do as they exit.
func (s *stage) lastWord(ctx context.Context, job, container string) (time.Time, error) {
	line, err := s.kubectl.Run(ctx, "-n", podsNamespace, "logs", "job/"+job, "-c", container, "--timestamps", "--tail=1")
	if err != nil {
		return time.Time{}, err
	}
	stamp, text, _ := strings.Cut(line, " ")
	if !strings.Contains(text, "exiting") {
		return time.Time{}, fmt.Errorf("container %s of job %s does not say that it exits: %q", container, job, line)
	}
	return time.Parse(time.RFC3339Nano, stamp)
}

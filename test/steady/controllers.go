package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// controller is a program of another project, built from its Go module.
type controller struct {
	name, module, version, command string
	// crds is a pattern of the files of the module that define its kinds.
	crds string
	// args follow --kubeconfig FILE.
	args []string
}

var (
	flagger = controller{
		name: "flagger", module: "github.com/fluxcd/flagger", version: "v1.36.1", command: "./cmd/flagger", crds: "artifacts/flagger/crd.yaml",
		args: []string{"-mesh-provider=appmesh:v1beta2", "-namespace=steady-flagger", "-port=18080", "-metrics-server=http://127.0.0.1:1", "-log-level=info"},
	}
	rollouts = controller{
		name: "argo-rollouts", module: "github.com/argoproj/argo-rollouts", version: "v1.10.1", command: "./cmd/rollouts-controller", crds: "manifests/crds/*-crd.yaml",
		args: []string{"--leader-elect=false", "--namespaced", "--namespace=steady-argo", "--metricsPort=18090", "--healthzPort=18091"},
	}
)

// start builds a controller, unless that is done, defines its kinds and runs it until the stage ends.
func (s *stage) start(ctx context.Context, c controller) error {
	source, err := s.source(ctx, c)
	if err != nil {
		return err
	}
	binary := s.layout.Bin(c.name + "-" + c.version)
	if _, err := os.Stat(binary); err != nil {
		s.say("building %s %s", c.name, c.version)
		build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", binary, c.command)
		build.Dir, build.Env, build.Stderr = source, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="), os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build %s: %w", c.name, err)
		}
	}
	crds, err := filepath.Glob(filepath.Join(source, c.crds))
	if err != nil || len(crds) == 0 {
		return fmt.Errorf("%s has no %s", c.module, c.crds)
	}
	if _, err := s.kubectl.Run(ctx, "apply", "--server-side", "--force-conflicts", "-f", strings.Join(crds, ",")); err != nil {
		return err
	}
	log, err := os.Create(s.layout.Cache(c.name + ".log"))
	if err != nil {
		return err
	}
	run := exec.CommandContext(ctx, binary, append([]string{"--kubeconfig", s.kubectl.Kubeconfig}, c.args...)...)
	run.Stdout, run.Stderr = log, log
	if err := run.Start(); err != nil {
		return err
	}
	s.say("%s runs, its log is %s", c.name, log.Name())
	s.running = append(s.running, func() {
		_ = run.Process.Kill() // it may have ended already
		_ = run.Wait()
		_ = log.Close()
	})
	return nil
}

// source returns a copy of a controller's module, because the one in Go's cache cannot be built in.
func (s *stage) source(ctx context.Context, c controller) (string, error) {
	dir := s.layout.Cache("source", c.name+"-"+c.version)
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return dir, nil
	}
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", c.module+"@"+c.version).Output()
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", c.module, err)
	}
	var got struct{ Dir string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", err
	}
	partial := dir + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(filepath.Dir(dir), 0o755)); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-r", "--no-preserve=mode", got.Dir, partial).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy %s: %w: %s", c.module, err, out)
	}
	return dir, os.Rename(partial, dir)
}

// until waits for a field of an object to have a value.
func (s *stage) until(ctx context.Context, namespace, object, field, value string, patience time.Duration) error {
	_, err := s.kubectl.Run(ctx, "-n", namespace, "wait", object, fmt.Sprintf("--for=jsonpath={%s}=%s", field, value), fmt.Sprintf("--timeout=%.0fs", patience.Seconds()))
	return err
}

// share of the rate of the scenario changes that the canaries get: two applications and a controller share the machine with them.
const share = 3

// flagger lets Flagger make the nodes, the routers and the services of a Deployment, and take a new version to its end.
func (s *stage) flagger(ctx context.Context) error {
	const namespace = "steady-flagger"
	if err := s.fresh(ctx, namespace); err != nil {
		return err
	}
	if err := s.start(ctx, flagger); err != nil {
		return err
	}
	if err := s.apply(ctx, "flagger.yaml"); err != nil {
		return err
	}
	if err := s.until(ctx, namespace, "canary/color", ".status.phase", "Initialized", 3*time.Minute); err != nil {
		return err
	}
	if err := s.rolled(ctx, namespace, "front", "color-primary"); err != nil {
		return err
	}
	if err := s.send(ctx, namespace, "http://color."+namespace+":8080/", s.rate/share); err != nil {
		return err
	}
	defer func() { _ = s.finish(ctx) }()
	return s.step(ctx, "flagger", "a canary goes to its end by Flagger", func() error {
		if err := s.version(ctx, namespace, "deployment/color", "second"); err != nil {
			return err
		}
		if err := s.until(ctx, namespace, "canary/color", ".status.phase", "Progressing", time.Minute); err != nil {
			return err
		}
		if err := s.until(ctx, namespace, "canary/color", ".status.phase", "Succeeded", 5*time.Minute); err != nil {
			return err
		}
		return s.answers(ctx, namespace, "second")
	})
}

// argo lets Argo Rollouts move weights and selectors, and promote a new version.
func (s *stage) argo(ctx context.Context) error {
	const namespace = "steady-argo"
	if err := s.fresh(ctx, namespace); err != nil {
		return err
	}
	if err := s.apply(ctx, "argo-namespace.yaml"); err != nil {
		return err
	}
	if err := s.start(ctx, rollouts); err != nil {
		return err
	}
	if err := s.apply(ctx, "argo.yaml"); err != nil {
		return err
	}
	if err := s.until(ctx, namespace, "rollout/color", ".status.phase", "Healthy", 3*time.Minute); err != nil {
		return err
	}
	if err := s.rolled(ctx, namespace, "front"); err != nil {
		return err
	}
	if err := s.send(ctx, namespace, "http://color."+namespace+".svc.cluster.local:8080/", s.rate/share); err != nil {
		return err
	}
	defer func() { _ = s.finish(ctx) }()
	for _, version := range []string{"second", "third"} {
		err := s.step(ctx, "argo", "a canary is promoted by Argo Rollouts: "+version, func() error {
			if err := s.version(ctx, namespace, "rollout/color", version); err != nil {
				return err
			}
			if err := s.until(ctx, namespace, "rollout/color", ".status.phase", "Progressing", time.Minute); err != nil {
				return err
			}
			if err := s.until(ctx, namespace, "rollout/color", ".status.phase", "Healthy", 5*time.Minute); err != nil {
				return err
			}
			if err := s.answers(ctx, namespace, version); err != nil {
				return err
			}
			time.Sleep(40 * time.Second) // the old pods leave half a minute later
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// version gives the application another identity.
func (s *stage) version(ctx context.Context, namespace, object, version string) error {
	config := fmt.Sprintf(`{"identity":%q,"listens":[{"port":8080,"protocol":"http"}]}`, version)
	patch, err := json.Marshal([]map[string]string{{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": config}})
	if err != nil {
		return err
	}
	_, err = s.kubectl.Run(ctx, "-n", namespace, "patch", object, "--type=json", "-p", string(patch))
	return err
}

// answers waits until only the given version answers.
func (s *stage) answers(ctx context.Context, namespace, version string) error {
	const patience = 20 * time.Second
	var seen map[string]int
	for end := time.Now().Add(patience); time.Now().Before(end); {
		before, err := s.loads[0].state(ctx)
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		after, err := s.loads[0].state(ctx)
		if err != nil {
			return err
		}
		seen = map[string]int{}
		for identity, n := range after.Identities {
			if n -= before.Identities[identity]; n > 0 {
				seen[identity] = n
			}
		}
		if len(seen) == 1 && seen[version] > 0 {
			return nil
		}
	}
	return fmt.Errorf("in %s %v answered in the last second, not only %s", namespace, seen, version)
}

// quiet looks whether the controllers that run leave the objects alone.
func (s *stage) quiet(ctx context.Context) error {
	if len(s.running) == 0 {
		return errors.New("no controller runs: the scenario follows flagger and argo")
	}
	before, err := s.versions(ctx)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.watch):
	}
	after, err := s.versions(ctx)
	if err != nil {
		return err
	}
	var changed []string
	for object, version := range before {
		if after[object] != version {
			changed = append(changed, fmt.Sprintf("%s (%s, then %s)", object, version, after[object]))
		}
	}
	r := row{Scenario: "quiet", What: fmt.Sprintf("%d objects, %d changed", len(before), len(changed)), Seconds: s.watch.Seconds()}
	if len(changed) > 0 || len(before) == 0 {
		r.Error = strings.Join(changed, ", ")
	}
	s.rows = append(s.rows, r)
	s.say("%s in %s", r.What, s.watch)
	return nil
}

// versions are generation and resourceVersion of every App Mesh object of the canaries.
func (s *stage) versions(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, namespace := range []string{"steady-flagger", "steady-argo"} {
		list, err := s.kubectl.Run(ctx, "-n", namespace, "get", "mesh,virtualnodes,virtualservices,virtualrouters,virtualgateways,gatewayroutes,backendgroups",
			"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} generation {.metadata.generation} resourceVersion {.metadata.resourceVersion}{"\n"}{end}`)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(list) {
			object, version, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.Contains(object, "steady-flagger") || strings.Contains(object, "steady-argo") {
				out[object] = version
			}
		}
	}
	return out, nil
}

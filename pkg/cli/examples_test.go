package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// everyName has every object that the examples name.
const everyName = `apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {appmesh.k8s.aws/sidecarInjectorWebhook: enabled}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: shop}
spec:
  podSelector: {matchLabels: {app: front}}
  backends: [{virtualService: {virtualServiceRef: {name: orders}}}]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: orders, namespace: shop}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: orders.shop.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: orders, namespace: shop}
spec: {awsName: orders.shop.svc.cluster.local, provider: {virtualNode: {virtualNodeRef: {name: orders}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: shop}
spec: {template: {metadata: {labels: {app: front}}, spec: {containers: [{name: app, image: app:1}]}}}
`

// examples are those of all verbs, by the command line of each.
func examples(c *cobra.Command) map[string][]string {
	out := map[string][]string{}
	if c.Runnable() && c.Name() != "help" && c.Parent().Name() != "completion" {
		out[c.CommandPath()] = nil
	}
	text := strings.ReplaceAll(c.Example, "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out[c.CommandPath()] = append(out[c.CommandPath()], line)
		}
	}
	for _, sub := range c.Commands() {
		for path, lines := range examples(sub) {
			out[path] = lines
		}
	}
	return out
}

// TestEveryExampleRuns runs the examples of every --help as a shell would. Verbs that read manifests succeed; those that need a
// cluster get as far as the cluster; those of a node get as far as its folders.
func TestEveryExampleRuns(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	dir := exampleFolder(t)
	here := strings.NewReplacer("http://127.0.0.1:9901", server.URL, "/var/run/aftermesh/", dir+"/", "/run/aftermesh/", dir+"/", ":15010", "127.0.0.1:0")
	for path, lines := range examples(newRoot("aftermesh")) {
		if len(lines) == 0 {
			t.Errorf("%s has no example", path)
		}
		for _, line := range lines {
			t.Run(line, func(t *testing.T) {
				t.Parallel()
				out, code := runExample(t, dir, here.Replace(line))
				if want := wantOf(path, line); code != want.code || !strings.Contains(out, want.words) {
					t.Errorf("exit code %d, want %d with %q:\n%s", code, want.code, want.words, out)
				}
			})
		}
	}
}

type expectation struct {
	code  int
	words string
}

// wantOf says how an example ends here, where there is neither a cluster nor a node.
func wantOf(path, line string) expectation {
	switch verb := strings.TrimPrefix(path, "aftermesh "); verb {
	case "standalone":
		return expectation{0, "serving delta xDS"}
	case "operator":
		return expectation{exitFault, "Error: "}
	case "cni", "cni install", "cni check", "cni uninstall":
		return expectation{exitFault, "Error: "}
	case "status", "proxies", "restart", "uninstall", "explain pod":
		return expectation{exitFault, "no cluster is configured"}
	default:
		if strings.HasPrefix(verb, "explain") && !strings.Contains(line, "-f ") {
			return expectation{exitFault, "no cluster is configured"}
		}
		return expectation{0, ""}
	}
}

// exampleFolder is where the examples run: with manifests, and with the programs that they call.
func exampleFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"manifests/m.yaml": everyName,
		"mesh.yaml":        everyName[:strings.Index(everyName, "---\n")],
		"app/app.yaml":     everyName[strings.Index(everyName, "---\n"):],
		"stats.yaml":       "{}\n",
		"tokens.txt":       "token mesh/m/virtualNode/front_shop\n",
		"bin/aftermesh":    "#!/bin/sh\n" + runVerb + "=" + byArguments + " exec " + self + " \"$@\"\n",
		"bin/kubectl":      "#!/bin/sh\nshift; exec aftermesh \"$@\"\n",
		"bin/kustomize":    "#!/bin/sh\nexec cat manifests/m.yaml\n",
		"bin/envoy":        "#!/bin/sh\nexec test -s front.yaml\n",
		"bin/jq":           "#!/bin/sh\nexec cat\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
		if strings.HasPrefix(name, "bin/") {
			if err := os.Chmod(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	keyPair(t, dir)
	copyOf, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "proxies-ca.crt"), string(copyOf))
	return dir
}

// runExample runs a line to its end; a server is ended once it serves.
func runExample(t *testing.T, dir, line string) (out string, code int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "KUBECONFIG=/nowhere", "HOME=" + dir, "BOOTSTRAP={}", "NODE_NAME=node"}
	log := &said{}
	cmd.Stdout, cmd.Stderr = log, log
	if strings.Contains(line, "aftermesh standalone") {
		cmd.Args[2] = "exec " + line
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all := log.until(t, "serving delta xDS")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		return all, exitCode(t, cmd.Wait())
	}
	err := cmd.Run()
	return log.take(), exitCode(t, err)
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

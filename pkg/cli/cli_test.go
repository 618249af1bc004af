package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const manifests = `apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: demo}
spec:
  podSelector: {matchLabels: {app: front}}
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: front.demo.svc.cluster.local}}
`

const dangling = `  backends:
  - virtualService:
      virtualServiceRef: {name: missing}
`

// aftermesh runs the command line.
func aftermesh(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Run(append([]string{"aftermesh"}, args...), strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodesAndWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  string
		stdin string
		code  int
		want  string
	}{
		{"check of good manifests", "check -f -", manifests, 0, "2 objects: 0 errors, 0 unresolved, 0 warnings"},
		{"check names file, line, object and remedy", "check -f -", manifests + dangling, 1, "-:15: unresolved: VirtualNode demo/front: spec.backends[0].virtualService: VirtualService demo/missing does not exist"},
		{"check of something unreadable", "check -f -", "a: [", 1, "error"},
		{"check without files and without a cluster", "check --kubeconfig /nowhere", "", 1, "to check manifests give their path with -f"},
		{"check of a file that is not there", "check -f /nowhere.yaml", "", 1, "no such file"},
		{"translate", "translate -f - --proxy demo/front", manifests, 0, "lds_ingress_0.0.0.0_15000"},
		{"translate by node id", "translate -f - --proxy mesh/demo/virtualNode/front_demo -o json", manifests, 0, `"listeners"`},
		{"translate of an unknown proxy names the known ones", "translate -f - --proxy demo/gone", manifests, 2, "there are: demo/front"},
		{"an unknown output format", "check -f - -o xml", manifests, 2, "-o takes text, json, yaml"},
		{"an unknown verb", "dance", "", 2, "unknown command"},
		{"an unknown flag", "check --dance", "", 2, "unknown flag"},
		{"version", "version", "", 0, "aftermesh v"},
		{"help", "--help", "", 0, "translate"},
		{"standalone on a public address", "standalone . --listen 0.0.0.0:15010", "", 2, "not on loopback"},
		{"redirect without settings", "redirect --dry-run", "", 2, "APPMESH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := aftermesh(t, c.stdin, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("exit code %d, want %d, with %q:\n%s%s", code, c.code, c.want, stdout, stderr)
			}
		})
	}
}

func TestInjectPrintsThePodAndWhy(t *testing.T) {
	t.Parallel()
	workloads := manifests + `---
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {appmesh.k8s.aws/sidecarInjectorWebhook: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: demo}
spec: {template: {metadata: {labels: {app: front}}, spec: {containers: [{name: app, image: app:1}]}}}
`
	code, stdout, stderr := aftermesh(t, workloads, "inject", "-f", "-")
	if code != 0 || !strings.Contains(stdout, "envoyproxy/envoy:") || !strings.Contains(stderr, "injected as VirtualNode demo/front") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	stranger := strings.ReplaceAll(workloads, "labels: {app: front}}, spec", "labels: {app: stranger}}, spec")
	if code, _, stderr := aftermesh(t, stranger, "inject", "-f", "-"); code != 1 || !strings.Contains(stderr, "no matching VirtualNode or VirtualGateway found") {
		t.Errorf("a pod that nothing selects: exit code %d\n%s", code, stderr)
	}
}

func TestFindingsForMachines(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(file, []byte(manifests+dangling), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := aftermesh(t, "", "check", "-f", file, "-o", "json")
	var got struct{ Findings []finding }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 1 || len(got.Findings) != 1 {
		t.Fatalf("exit code %d, %v\n%s", code, err, stdout)
	}
	if f := got.Findings[0]; f.File != file || f.Line != 15 || f.Reason != "VirtualServiceNotFound" || f.Severity != "unresolved" {
		t.Errorf("finding %+v", f)
	}
}

// TestEveryVerbExplainsItself keeps help texts complete.
func TestEveryVerbExplainsItself(t *testing.T) {
	t.Parallel()
	for _, c := range newRoot("aftermesh").Commands() {
		if c.Short == "" || !c.Runnable() && !c.HasSubCommands() {
			t.Errorf("%s has no description", c.Name())
		}
	}
}

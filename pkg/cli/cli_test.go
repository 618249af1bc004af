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
		{"check without files and without a cluster", "check --kubeconfig /nowhere", "", 1, "to check manifests, name them with -f"},
		{"check of a file that is not there", "check -f /nowhere.yaml", "", 1, "no such file"},
		{"translate", "translate -f - --proxy demo/front", manifests, 0, "lds_ingress_0.0.0.0_15000"},
		{"translate by node id", "translate -f - --proxy mesh/demo/virtualNode/front_demo -o json", manifests, 0, `"listeners"`},
		{"translate of an unknown proxy names the known ones", "translate -f - --proxy demo/gone", manifests, 2, "they hold: demo/front"},
		{"an unknown output format", "check -f - -o xml", manifests, 2, "-o takes text, json, yaml"},
		{"an unknown verb", "dance", "", 2, `aftermesh has no command "dance"; it has: bootstrap, check, `},
		{"an unknown flag", "check --dance", "", 2, "unknown flag"},
		{"version", "version", "", 0, "aftermesh v"},
		{"help", "--help", "", 0, "translate"},
		{"standalone on a public address", "standalone . --listen 0.0.0.0:15010", "", 2, "not on loopback"},
		{"an unknown command of a verb", "explain rout", "", 2, `aftermesh explain has no command "rout"; did you mean route? it has: pod, route`},
		{"an unknown command with a flag", "explain rout --from a/b GET http://c/", "", 2, `aftermesh explain has no command "rout"`},
		{"an unknown shell", "completion foo", "", 2, `aftermesh completion has no command "foo"; it has: bash, fish, powershell, zsh`},
		{"help of an unknown verb", "help foo", "", 2, `aftermesh has no command "foo"; it has: `},
		{"help of an unknown command of a verb", "help cni foo", "", 2, `aftermesh cni has no command "foo"; it has: check, install, uninstall`},
		{"help of a verb", "help cni install", "", 0, "--repair"},
		{"a verb that only has others", "explain", "", 0, "Available Commands"},
		{"the usage names the verb", "explain route", "", 2, "Run 'aftermesh explain route --help'"},
		{"an argument too many", "check m.yaml", "", 2, `expected no arguments, manifests are given by -f, not ["m.yaml"]`},
		{"an empty -f", "check --filename=", "", 2, "--filename is empty: give it a value or leave it out"},
		{"a namespace that is none", "check -f - -n Shop", manifests, 2, `--namespace "Shop" is no name of a namespace`},
		{"no -f", "translate --proxy a/b", "", 2, "-f is missing"},
		{"no --proxy", "translate -f -", manifests, 2, "--proxy is missing: name a VirtualNode or VirtualGateway of the manifests as namespace/name; they hold: demo/front"},
		{"a proxy of nothing", "translate -f - --proxy a/b", "", 2, "they hold no VirtualNode or VirtualGateway"},
		{"no --from", "explain route -f - GET http://a/", manifests, 2, "--from is missing"},
		{"an unknown --from", "explain route -f - --from a/b GET http://a/", manifests, 2, `--from "a/b" is no VirtualNode or VirtualGateway with proxies; there are: demo/front`},
		{"a pod with two slashes", "explain pod a/b/c", "", 2, "expected a pod as NAMESPACE/POD"},
		{"a port that is none", "explain pod a/b --port 0", "", 2, "--port takes 1 to 65535, not 0"},
		{"a port that is no number", "explain pod a/b --port x", "", 2, `invalid argument "x" for "--port" flag: "x": invalid syntax`},
		{"an admin port that is none", "proxies --admin-port 0", "", 2, "--admin-port takes 1 to 65535, not 0"},
		{"no kubeconfig", "status --kubeconfig /nowhere", "", 1, "no cluster is configured"},
		{"a status of no object", "status VirtualNode", "", 2, `expected KIND/NAME, not "VirtualNode"; the kinds are Mesh, `},
		{"a status of an unknown kind", "status Pod/a", "", 2, "the kinds are Mesh, "},
		{"a restart of nothing", "restart", "", 2, "expected either --outdated"},
		{"a restart of an unknown kind", "restart job/a", "", 2, `expected deployment/NAME, statefulset/NAME, daemonset/NAME or rollout/NAME, not "job/a"`},
		{"a restart in all namespaces by name", "restart deploy/a -A", "", 2, "-A goes with --outdated and --outside only"},
		{"standalone of a file", "standalone cli_test.go", "", 2, "cli_test.go is a file: name the folder that holds it"},
		{"standalone of nothing", "standalone /nowhere", "", 1, "folder /nowhere does not exist"},
		{"standalone on no address", "standalone . --listen foo", "", 2, `--listen "foo" is not of the form ADDRESS:PORT or unix:///path`},
		{"standalone on a port that is none", "standalone . --listen 127.0.0.1:99999", "", 2, "is not of the form ADDRESS:PORT"},
		{"standalone on no socket", "standalone . --listen unix://", "", 2, "names no socket"},
		{"standalone with empty tokens", "standalone . --tokens=", "", 2, "--tokens is empty"},
		{"wait-ready without an address", "wait-ready --url=", "", 2, `--url "" is not of the form http://host:port/path`},
		{"wait-ready with a bad timeout", "wait-ready --timeout x", "", 2, `invalid argument "x" for "--timeout" flag: invalid duration "x"`},
		{"one error", "check -f -", strings.Replace(manifests, "8080", "0", 1), 1, "2 objects: 1 error, 0 unresolved, 0 warnings"},
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

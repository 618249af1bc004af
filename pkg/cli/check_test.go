package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatFollowsFromARefusedObjectIsNoFinding(t *testing.T) {
	t.Parallel()
	const world = `apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: demo}
spec: {backends: [{virtualService: {virtualServiceRef: {name: color}}}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: color, namespace: demo}
spec: {provider: {virtualRouter: {virtualRouterRef: {name: color}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: color, namespace: demo}
spec: {listeners: [{portMapping: {port: 8080, protocol: http}}], routes: [{name: all, httpRoute: {match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 1}]}}}]}
---
`
	const meshObject, blue = `apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {}}
---
`, `apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: blue, namespace: demo}
spec: {listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: blue.example.com}}}
---
`
	for _, c := range []struct{ name, manifests, want, summary string }{
		{"a mesh with an unknown field", strings.Replace(meshObject, "spec: {", "spec: {tracing: {}, ", 1) + blue,
			"-:4: warning: Mesh demo: spec.tracing: unknown field, ignored; remove it (UnknownField)", "5 objects: 0 errors, 0 unresolved, 1 warning"},
		{"a mesh with a bad value", strings.Replace(meshObject, "spec: {", "spec: {egressFilter: {type: ALLOWALL}, ", 1) + blue,
			`-:4: error: Mesh demo: spec.egressFilter.type: Unsupported value: "ALLOWALL": supported values: "ALLOW_ALL", "DROP_ALL" (Invalid)`, "5 objects: 1 error, 0 unresolved, 0 warnings"},
		{"a mesh of an old version", strings.Replace(meshObject, "v1beta2", "v1beta1", 1) + blue,
			"-:1: error: Mesh demo: apiVersion: appmesh.k8s.aws/v1beta1 is not served; write the object in appmesh.k8s.aws/v1beta2, where some fields have other names (Invalid)", "5 objects: 1 error, 0 unresolved, 0 warnings"},
		{"a node of an old version", meshObject + strings.Replace(blue, "v1beta2", "v1beta1", 1), "-:6: error: VirtualNode demo/blue: apiVersion: ", "5 objects: 1 error, 0 unresolved, 0 warnings"},
		{"a node with a port that is no number", meshObject + strings.Replace(blue, "8080", "http", 1),
			"-:9: error: VirtualNode demo/blue: spec.listeners[0].portMapping.port: Invalid value: \"string\": must be of type integer: \"string\" (Invalid)", "5 objects: 1 error, 0 unresolved, 0 warnings"},
		{"a node that is not there", meshObject, "VirtualNode demo/blue does not exist", "4 objects: 0 errors, 1 unresolved, 0 warnings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, stdout, stderr := aftermesh(t, c.manifests+world, "check", "-f", "-")
			if !strings.Contains(stdout, c.want) || !strings.Contains(stdout, c.summary) {
				t.Errorf("want %q and %q, got\n%s%s", c.want, c.summary, stdout, stderr)
			}
		})
	}
}

func TestAnUnreadableDocumentMakesNoCascade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken, rest, _ := strings.Cut(manifests+dangling, "---\n")
	write(t, filepath.Join(dir, "a.yaml"), strings.Replace(broken, "{name: demo}", "{name: demo", 1))
	write(t, filepath.Join(dir, "b.yaml"), rest)
	for _, args := range [][]string{{"check", "-f", dir}, {"translate", "-f", dir, "--proxy", "demo/front"}} {
		code, stdout, stderr := aftermesh(t, "", args...)
		if code == exitOK || strings.Contains(stdout+stderr, "create the Mesh") || strings.Contains(stdout+stderr, "does not exist") || !strings.Contains(stdout+stderr, "a.yaml:2: error: cannot be read: ") {
			t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
		}
		if want := "left out 1 finding about objects that may be in the documents that cannot be read; correct these first"; args[0] == "check" && !strings.Contains(stdout, want) {
			t.Errorf("%s does not say %q:\n%s", args, want, stdout)
		}
	}
	// A kind that does not exist may be the object that is missed.
	if _, stdout, _ := aftermesh(t, strings.Replace(manifests, "kind: Mesh", "kind: Mush", 1), "check", "-f", "-"); strings.Contains(stdout, "create the Mesh") {
		t.Error(stdout)
	}
}

func TestNothingToCheckOrInjectIsAFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "kustomization.yaml"), "resources: []\n")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{empty: "nothing was", dir: "nothing was", "/nowhere": "no such file"} {
		for _, verb := range []string{"check", "inject"} {
			if code, _, stderr := aftermesh(t, "", verb, "-f", path); code != exitFault || !strings.Contains(stderr, want) {
				t.Errorf("%s of %s: exit code %d, %q", verb, path, code, stderr)
			}
		}
	}
}

func TestKustomizationsBesideManifestsAreMentioned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "kustomization.yaml"), "resources: [m.yaml]\n")
	write(t, filepath.Join(dir, "m.yaml"), manifests)
	code, stdout, stderr := aftermesh(t, "", "check", "-f", dir)
	if code != exitOK || !strings.Contains(stdout, "skipped 1 document of kind kustomize.config.k8s.io/v1beta1 Kustomization") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestTranslateSaysWhatAClusterWouldRefuse(t *testing.T) {
	t.Parallel()
	bad := manifests + "---\n{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualNode, metadata: {name: bad, namespace: demo}, spec: {listeners: [{portMapping: {port: 0, protocol: http}}]}}\n"
	code, stdout, stderr := aftermesh(t, bad, "translate", "-f", "-", "--proxy", "demo/front")
	if code != exitFault || !strings.Contains(stdout, "lds_ingress") || !strings.Contains(stderr, "VirtualNode demo/bad: spec.listeners[0].portMapping.port: Invalid value: 0") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestANodeAtItsCallersOwnAddressIsRefused: the webhook refuses it, so the verbs that speak for a cluster do.
func TestANodeAtItsCallersOwnAddressIsRefused(t *testing.T) {
	t.Parallel()
	const want = `"127.0.0.1" is the pod of whoever calls`
	inward := strings.Replace(strings.Replace(manifests, "front.demo.svc.cluster.local", "127.0.0.1", 1), "  podSelector: {matchLabels: {app: front}}\n", "", 1)
	for _, args := range [][]string{{"check", "-f", "-"}, {"translate", "-f", "-", "--proxy", "demo/front"}} {
		if code, stdout, stderr := aftermesh(t, inward, args...); code != exitFault || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	s, load := loader(t)
	if got := load(inward); strings.Contains(got, want) || s.pipeline.Last() == nil {
		t.Errorf("standalone, where all may run on one machine, says %s", got)
	}
}

package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
)

const manifest = `apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: color}
spec:
  provider:
    virtualRouter:
      virtualRouterRef:
        name: color
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ignored}
`

func read(t *testing.T, text string) *Files {
	t.Helper()
	f, err := ReadFiles([]string{"-"}, "shop", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDocumentsAreSortedIn(t *testing.T) {
	t.Parallel()
	f := read(t, manifest)
	if len(f.Faults) > 0 || len(input.Of[*meshv1beta2.VirtualService](&f.Objects)) != 1 || len(f.Other) != 1 || f.Skipped["v1 ConfigMap"] != 1 {
		t.Fatalf("faults %v, services %d, workloads %d, skipped %v", f.Faults, len(input.Of[*meshv1beta2.VirtualService](&f.Objects)), len(f.Other), f.Skipped)
	}
	if ns := input.Of[*meshv1beta2.VirtualService](&f.Objects)[0].Namespace; ns != "shop" {
		t.Errorf("an object without a namespace is in %q", ns)
	}
	o := input.AppMesh("VirtualService", "shop", "color")
	for path, want := range map[string]int{"": 1, "spec.provider.virtualRouter.virtualRouterRef.name": 8, "spec.provider.gone": 6, "spec.gone[3]": 5} {
		if _, line := f.Position(o, path); line != want {
			t.Errorf("%q is at line %d, want %d", path, line, want)
		}
	}
}

func TestFaultsNameTheirPlaceAndLoseNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a kind that does not exist": {"apiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualThing\nmetadata: {name: m}\n", "VirtualThing"},
		"a version that is not served": {"apiVersion: appmesh.k8s.aws/v1beta1\nkind: Mesh\nmetadata: {name: m}\n",
			"Mesh m: apiVersion: appmesh.k8s.aws/v1beta1 is not served; write the object in appmesh.k8s.aws/v1beta2"},
		"no kind":                 {"a: 1\n", "no apiVersion and kind"},
		"an object twice":         {"apiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualService\nmetadata: {name: color}\n", "given before"},
		"a list":                  {"- 1\n", "not a Kubernetes object"},
		"Lists in Lists in Lists": {strings.Repeat("{apiVersion: v1, kind: List, items: [", 800) + strings.Repeat("]}", 800), "more than 8 deep"},
		"broken YAML":             {"a: [\n", "cannot be read: did not find"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := read(t, manifest+"---\n"+c.text)
			if len(f.Faults) != 1 || !strings.Contains(f.Faults[0].Message, c.want) && !strings.Contains(f.Faults[0].Error(), c.want) {
				t.Errorf("faults %v, want one about %q", f.Faults, c.want)
			}
			if len(f.Faults) == 1 && f.Faults[0].Line < 17 {
				t.Errorf("the fault is said to be at line %d", f.Faults[0].Line)
			}
			if len(input.Of[*meshv1beta2.VirtualService](&f.Objects)) != 1 {
				t.Error("the good documents are lost")
			}
		})
	}
}

func TestFoldersAreReadWithEverythingBelow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a/mesh.yaml":   "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: one}\n",
		"b.json":        `{"apiVersion": "appmesh.k8s.aws/v1beta2", "kind": "Mesh", "metadata": {"name": "two"}}`,
		".git/x.yaml":   "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: hidden}\n",
		"README.md":     "kind: Mesh",
		"a/.swp.yaml":   "junk: [",
		"a/empty.yaml":  "",
		"a/list.yml":    "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: appmesh.k8s.aws/v1beta2, kind: Mesh, metadata: {name: three}}\n",
		"a/binary.yaml": "# only a comment\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := ReadFiles([]string{dir}, "default", nil)
	if err != nil || len(f.Faults) > 0 || len(input.Of[*meshv1beta2.Mesh](&f.Objects)) != 3 {
		t.Errorf("%d Meshes, faults %v, error %v", len(input.Of[*meshv1beta2.Mesh](&f.Objects)), f.Faults, err)
	}
}

func TestKeysGivenTwiceAreNamed(t *testing.T) {
	t.Parallel()
	const mesh = "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: m}\nspec:\n  namespaceSelector: {matchLabels: {a: b}}\n"
	for name, c := range map[string]struct{ text, want string }{
		"a field of ours": {mesh + "  namespaceSelector: {}\n",
			`-:6: Mesh m: spec.namespaceSelector: key "namespaceSelector" was given before, at line 5, and this value counts; remove one of the two`},
		"in a flow mapping": {"apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: n, name: m}\n", `-:3: Mesh m: metadata.name: key "name"`},
		"in a list":         {"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - {port: 1, port: 2}\n", `-:6: Service shop/s: spec.ports[0].port: key "port"`},
		"in an item of a List": {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: ns\n    labels: {a: b, a: c}\n",
			`-:8: Namespace ns: metadata.labels.a: key "a"`},
		"the items of a List": {"apiVersion: v1\nkind: List\nitems: []\nitems: []\n", `-:4: items: key "items" was given before, at line 3`},
		"in JSON":             {`{"apiVersion": "appmesh.k8s.aws/v1beta2", "kind": "Mesh", "metadata": {"name": "m"}, "spec": {}, "spec": {}}`, `-:1: Mesh m: spec: key "spec"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := read(t, c.text)
			if len(f.Warnings) != 1 || len(f.Faults) != 0 || !strings.HasPrefix(f.Warnings[0].Error(), c.want) || !f.Warnings[0].Strict() {
				t.Fatalf("faults %v, warnings %v, want one warning %q", f.Faults, f.Warnings, c.want)
			}
		})
	}
	if f := read(t, mesh+"  namespaceSelector: {}\n"); len(input.Of[*meshv1beta2.Mesh](&f.Objects)[0].Spec.NamespaceSelector.MatchLabels) != 0 {
		t.Error("the last value does not count")
	}
	if f := read(t, mesh+"  x: &x {a: b}\n  y: {<<: *x, a: c}\n"); len(f.Warnings) != 2 || f.Warnings[0].Reason != ReasonUnknownField {
		t.Errorf("a merged key that is overridden is no duplicate: %v", f.Warnings)
	}
}

func TestALinkToAFolderIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "real", "m.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, link + "/"} {
		f, err := ReadFiles([]string{path}, "shop", nil)
		if err != nil || f.Own() != 1 {
			t.Fatalf("%d objects in %s: %v", f.Own(), path, err)
		}
		if file, _ := f.Position(input.AppMesh("VirtualService", "shop", "color"), ""); file != filepath.Join(link, "m.yaml") {
			t.Errorf("the file is called %s", file)
		}
	}
}

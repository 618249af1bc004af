package schema

import (
	"encoding/json"
	"io/fs"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/aftermesh/aftermesh/config/crd"
)

// decode reads YAML as JSON does.
func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryInstalledKindIsFound(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d definitions, %v", len(files), err)
	}
	for _, file := range files {
		text, err := crd.Bases.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		gvk := runtimeschema.GroupVersionKind{Group: d.Spec.Group, Version: d.Spec.Versions[0].Name, Kind: d.Spec.Names.Kind}
		k, err := Of(gvk)
		if err != nil || k == nil || k.Namespaced != (d.Spec.Scope == apiextensionsv1.NamespaceScoped) {
			t.Errorf("%s: %+v, %v", gvk, k, err)
		}
		gvk.Version = "v0"
		if k, err := Of(gvk); k != nil || err != nil {
			t.Errorf("%s is found: %+v, %v", gvk, k, err)
		}
	}
}

func TestDecodePrunesAndFillsInDefaults(t *testing.T) {
	t.Parallel()
	var props apiextensionsv1.JSONSchemaProps
	if err := yaml.Unmarshal([]byte(`{type: object, properties: {metadata: {type: object}, spec: {type: object, properties: {
 color: {type: string, default: blue, enum: [blue, green]}, list: {type: array, items: {type: object, required: [size], properties: {size: {type: integer, default: 3}}}}}}}}`), &props); err != nil {
		t.Fatal(err)
	}
	k, err := newKind(&props)
	if err != nil {
		t.Fatal(err)
	}
	object := decode(t, `{apiVersion: v1, kind: K, metadata: {name: x, lables: {}}, spec: {colour: red, color: null, list: [{}, {Size: 1}]}, status: {a: 1}}`)
	unknown, broken := k.Decode(object)
	got, err := json.Marshal([]any{object["spec"], object["status"], unknown, broken, k.Validate(object)})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"color":"blue","list":[{"size":3},{"size":3}]},null,` +
		`[{"Path":"metadata.lables","Nearest":""},{"Path":"spec.colour","Nearest":"color"},{"Path":"spec.list[1].Size","Nearest":"size"},{"Path":"status","Nearest":""}],null,null]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

package admission

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestPrunableListsAreThoseThatTheSchemaRefusesEmpty derives the table from the CRDs.
func TestPrunableListsAreThoseThatTheSchemaRefusesEmpty(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/appmesh.k8s.aws_*.yaml")
	if err != nil || len(files) != len(meshv1beta2.Kinds) {
		t.Fatalf("want %d CRDs, got %v, %v", len(meshv1beta2.Kinds), files, err)
	}
	want := map[string][]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		if lists := emptyRefused("spec", spec); len(lists) > 0 {
			slices.Sort(lists)
			want[crd.Spec.Names.Kind] = lists
		}
	}
	got := map[string][]string{}
	for kind, lists := range prunable {
		got[kind] = slices.Sorted(slices.Values(lists))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-schema +table):\n%s", diff)
	}
}

// emptyRefused lists the optional lists below a schema that must not be empty, and fails to see none.
func emptyRefused(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	var lists []string
	for name, child := range schema.Properties {
		optional := !slices.Contains(schema.Required, name)
		if optional && child.Type == "array" && child.MinItems != nil && *child.MinItems > 0 {
			lists = append(lists, path+"/"+name)
		}
		lists = append(lists, emptyRefused(path+"/"+name, child)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		lists = append(lists, emptyRefused(path+"/*", *schema.Items.Schema)...)
	}
	return lists
}

func TestPruneRemovesOnlyEmptyListsOfTheTable(t *testing.T) {
	source := `
spec:
  listeners: []
  routes:
  - name: kept
    httpRoute:
      match: {prefix: /, headers: [{name: a}], queryParameters: []}
      action: {weightedTargets: []}
      retryPolicy: {httpRetryEvents: [], tcpRetryEvents: [connection-error]}
  - grpcRoute:
      match: {metadata: []}
  - tcpRoute: not an object
  - not an object
`
	var p patch
	if err := yaml.Unmarshal([]byte(source), &p.object); err != nil {
		t.Fatal(err)
	}
	p.prune("VirtualRouter")
	var got []string
	for _, o := range p.operations {
		got = append(got, o.Operation+" "+o.Path)
	}
	slices.Sort(got)
	want := []string{
		"remove /spec/listeners",
		"remove /spec/routes/0/httpRoute/match/queryParameters",
		"remove /spec/routes/0/httpRoute/retryPolicy/httpRetryEvents",
		"remove /spec/routes/1/grpcRoute/match/metadata",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(cmp.Diff(p.object, nil), "queryParameters") {
		t.Error("the decoded object still has what was removed")
	}
}

package crds

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const ourFolder = "../../config/crd/bases"

// load reads the CRDs of a folder, keyed by object name.
func load(t *testing.T, folder string) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs in %q: %v", folder, err)
	}
	crds := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if crd.Kind != "CustomResourceDefinition" || len(crd.Spec.Versions) != 1 {
			t.Fatalf("%s: want one CRD with one version", file)
		}
		crds[crd.Name] = crd
	}
	return crds
}

func TestOurCRDsAcceptWhatTheReferenceAccepts(t *testing.T) {
	folder := os.Getenv("CRDS")
	if folder == "" {
		t.Skip("SKIPPED: the reference CRDs were NOT compared; name their folder in the environment variable CRDS")
	}
	ours := load(t, ourFolder)
	for name, reference := range load(t, folder) {
		t.Run(name, func(t *testing.T) {
			mine := ours[name]
			if mine == nil {
				t.Fatal("we have no such CRD")
			}
			compareNames(t, reference, mine)
			compareVersion(t, reference.Spec.Versions[0], mine.Spec.Versions[0])
		})
	}
}

func compareNames(t *testing.T, reference, ours *apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	if diff := cmp.Diff(reference.Spec.Names, ours.Spec.Names); diff != "" {
		t.Errorf("names, short names or categories differ (-reference +ours):\n%s", diff)
	}
	if reference.Spec.Group != ours.Spec.Group || reference.Spec.Scope != ours.Spec.Scope {
		t.Errorf("group %s, scope %s; reference has %s, %s", ours.Spec.Group, ours.Spec.Scope, reference.Spec.Group, reference.Spec.Scope)
	}
	if ours.Spec.Conversion != nil && ours.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter {
		t.Error("has a conversion webhook")
	}
}

func compareVersion(t *testing.T, reference, ours apiextensionsv1.CustomResourceDefinitionVersion) {
	t.Helper()
	if ours.Name != reference.Name || ours.Served != reference.Served || ours.Storage != reference.Storage {
		t.Errorf("version %s served=%t storage=%t, reference has %s served=%t storage=%t",
			ours.Name, ours.Served, ours.Storage, reference.Name, reference.Served, reference.Storage)
	}
	if diff := cmp.Diff(reference.Subresources, ours.Subresources); diff != "" {
		t.Errorf("subresources differ (-reference +ours):\n%s", diff)
	}
	shown := len(reference.AdditionalPrinterColumns)
	if len(ours.AdditionalPrinterColumns) < shown {
		t.Fatalf("%d printer columns, reference has %d", len(ours.AdditionalPrinterColumns), shown)
	}
	if diff := cmp.Diff(reference.AdditionalPrinterColumns, ours.AdditionalPrinterColumns[:shown], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("printer columns differ (-reference +ours):\n%s", diff)
	}
	if shown == 0 && ours.AdditionalPrinterColumns[0].JSONPath != ".metadata.creationTimestamp" {
		t.Error("declaring a column takes the server's own AGE column away")
	}
	for _, line := range Narrower(reference.Schema.OpenAPIV3Schema, ours.Schema.OpenAPIV3Schema) {
		t.Error(line)
	}
}

func TestOurCRDsDeclareStatusColumnsAndPreservation(t *testing.T) {
	type shape struct {
		Scope               apiextensionsv1.ResourceScope
		ShortNames, Columns string
		Categories          string
	}
	const ours = "AGE:.metadata.creationTimestamp READY:.status.conditions[?(@.type=='Ready')].status PROGRAMMED:.status.proxies"
	const columns = "ARN:.status.%s " + ours
	want := map[string]shape{
		"meshes.appmesh.k8s.aws":          {"Cluster", "", fmt.Sprintf(columns, "meshARN"), ""},
		"virtualnodes.appmesh.k8s.aws":    {"Namespaced", "", fmt.Sprintf(columns, "virtualNodeARN"), "all"},
		"virtualservices.appmesh.k8s.aws": {"Namespaced", "", fmt.Sprintf(columns, "virtualServiceARN"), "all"},
		"virtualrouters.appmesh.k8s.aws":  {"Namespaced", "", fmt.Sprintf(columns, "virtualRouterARN"), "all"},
		"routes.appmesh.k8s.aws":          {"Namespaced", "vroute", fmt.Sprintf(columns, "routeARN"), "all"},
		"virtualgateways.appmesh.k8s.aws": {"Namespaced", "", fmt.Sprintf(columns, "virtualGatewayARN"), "all"},
		"gatewayroutes.appmesh.k8s.aws":   {"Namespaced", "", fmt.Sprintf(columns, "gatewayRouteARN"), "all"},
		"backendgroups.appmesh.k8s.aws":   {"Namespaced", "", ours, "all"},
	}
	got := map[string]shape{}
	for name, crd := range load(t, ourFolder) {
		if crd.Spec.Group != "appmesh.k8s.aws" {
			continue // only App Mesh's kinds have its form
		}
		version := crd.Spec.Versions[0]
		var shown []string
		for _, column := range version.AdditionalPrinterColumns {
			if column.Priority == 0 {
				shown = append(shown, column.Name+":"+column.JSONPath)
			}
		}
		got[name] = shape{crd.Spec.Scope, strings.Join(crd.Spec.Names.ShortNames, ","), strings.Join(shown, " "), strings.Join(crd.Spec.Names.Categories, ",")}
		if version.Subresources == nil || version.Subresources.Status == nil || version.Subresources.Scale != nil {
			t.Errorf("%s: want the status subresource and no scale", name)
		}
		if !preserves(version.Schema.OpenAPIV3Schema) {
			t.Errorf("%s: unknown fields at the root are dropped", name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARouteTakesExactlyTheFieldsOfAnInlineRoute(t *testing.T) {
	ours := load(t, ourFolder)
	spec := func(name string) apiextensionsv1.JSONSchemaProps {
		return ours[name].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	}
	inline := spec("virtualrouters.appmesh.k8s.aws").Properties["routes"].Items.Schema.Properties
	object := spec("routes.appmesh.k8s.aws").Properties
	delete(inline, "name")
	delete(object, "virtualRouterRef")
	if diff := cmp.Diff(inline, object); diff != "" {
		t.Errorf("(-inline +object):\n%s", diff)
	}
}

func TestNarrowerSeesEveryKindOfNarrowing(t *testing.T) {
	one, two, ten := int64(1), int64(2), int64(10)
	low, high := 0.0, 5.0
	yes := true
	text := func(change func(*apiextensionsv1.JSONSchemaProps)) *apiextensionsv1.JSONSchemaProps {
		schema := &apiextensionsv1.JSONSchemaProps{Type: "string", MinLength: &one, MaxLength: &ten,
			Enum: []apiextensionsv1.JSON{{Raw: []byte(`"a"`)}}, Minimum: &low}
		change(schema)
		return schema
	}
	base := text(func(*apiextensionsv1.JSONSchemaProps) {})
	for name, change := range map[string]func(*apiextensionsv1.JSONSchemaProps){
		"another type":      func(s *apiextensionsv1.JSONSchemaProps) { s.Type = "integer" },
		"another format":    func(s *apiextensionsv1.JSONSchemaProps) { s.Format = "int32" },
		"a longer minimum":  func(s *apiextensionsv1.JSONSchemaProps) { s.MinLength = &two },
		"a shorter maximum": func(s *apiextensionsv1.JSONSchemaProps) { s.MaxLength = &two },
		"a higher minimum":  func(s *apiextensionsv1.JSONSchemaProps) { s.Minimum = &high },
		"a new maximum":     func(s *apiextensionsv1.JSONSchemaProps) { s.Maximum = &high },
		"a lost value":      func(s *apiextensionsv1.JSONSchemaProps) { s.Enum = []apiextensionsv1.JSON{{Raw: []byte(`"b"`)}} },
		"a new pattern":     func(s *apiextensionsv1.JSONSchemaProps) { s.Pattern = "x" },
		"a default":         func(s *apiextensionsv1.JSONSchemaProps) { s.Default = &apiextensionsv1.JSON{Raw: []byte(`"a"`)} },
		"a CEL rule": func(s *apiextensionsv1.JSONSchemaProps) {
			s.XValidations = apiextensionsv1.ValidationRules{{Rule: "true"}}
		},
		"a combinator":       func(s *apiextensionsv1.JSONSchemaProps) { s.Not = &apiextensionsv1.JSONSchemaProps{} },
		"a new required key": func(s *apiextensionsv1.JSONSchemaProps) { s.Required = []string{"x"} },
	} {
		if len(Narrower(base, text(change))) == 0 {
			t.Errorf("%s goes unnoticed", name)
		}
	}
	nested := &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes,
		Properties: map[string]apiextensionsv1.JSONSchemaProps{"a": *base}}
	if got := Narrower(nested, &apiextensionsv1.JSONSchemaProps{Type: "object"}); len(got) != 2 {
		t.Errorf("a lost property and lost preservation give %q", got)
	}
	wider := text(func(s *apiextensionsv1.JSONSchemaProps) { s.MinLength, s.MaxLength, s.Enum = nil, nil, nil })
	if got := Narrower(base, wider); len(got) != 0 {
		t.Errorf("widening is reported: %q", got)
	}
}

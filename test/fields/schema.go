package fields

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Schemas are the CRDs by kind.
type Schemas map[string]*apiextensionsv1.CustomResourceDefinition

// ReadSchemas reads the CRDs of a folder.
func ReadSchemas(dir string) (Schemas, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no CRDs in %s", dir)
	}
	out := Schemas{}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(b, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(crd.Spec.Versions) != 1 || crd.Spec.Versions[0].Schema == nil {
			return nil, fmt.Errorf("%s: a CRD with one version was expected", path)
		}
		out[crd.Spec.Names.Kind] = &crd
	}
	return out, nil
}

// root is the schema of a kind.
func (s Schemas) root(kind string) apiextensionsv1.JSONSchemaProps {
	return *s[kind].Spec.Versions[0].Schema.OpenAPIV3Schema
}

// at returns the schema of a field by its path, as in Field, and whether its parent requires it. Of a list it is that of the items.
func (s Schemas) at(path string) (schema apiextensionsv1.JSONSchemaProps, required, ok bool) {
	kind, rest, _ := strings.Cut(path, ".")
	if s[kind] == nil {
		return schema, false, false
	}
	schema, ok = s.root(kind).Properties["spec"]
	for rest != "" && ok {
		var name string
		name, rest, _ = strings.Cut(rest, ".")
		name, list := strings.CutSuffix(name, "[]")
		required = false
		for _, r := range schema.Required {
			required = required || r == name
		}
		schema, ok = schema.Properties[name]
		if list && ok && schema.Items != nil {
			description := schema.Description
			schema = *schema.Items.Schema
			if schema.Description == "" {
				schema.Description = description
			}
		}
	}
	return schema, required, ok
}

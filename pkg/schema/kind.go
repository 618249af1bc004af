package schema

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/aftermesh/aftermesh/config/crd"
)

// Kind is one version of one kind, as an API server serves it.
type Kind struct {
	// Namespaced says that objects of the kind belong to a namespace.
	Namespaced bool

	structural *schema.Structural
	validator  validation.SchemaValidator
	// rules are nil for a kind without CEL rules.
	rules *cel.Validator
}

// definition is a CustomResourceDefinition that is read when it is needed.
type definition struct {
	once  sync.Once
	file  string
	kinds map[runtimeschema.GroupVersionKind]*Kind
	err   error
}

// index finds the definition of a kind by group and kind. It is made from the names of the files and their first lines only.
var index = sync.OnceValues(func() (map[runtimeschema.GroupKind]*definition, error) {
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	out := make(map[runtimeschema.GroupKind]*definition, len(files))
	for _, file := range files {
		text, err := crd.Bases.ReadFile(file)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(file[strings.LastIndex(file, "/")+1:], ".yaml")
		group, _, _ := strings.Cut(base, "_")
		kind := value(string(text), "\n    kind: ")
		if kind == "" {
			return nil, fmt.Errorf("%s names no kind", file)
		}
		out[runtimeschema.GroupKind{Group: group, Kind: kind}] = &definition{file: file}
	}
	return out, nil
})

// value returns what follows key up to the end of the line.
func value(text, key string) string {
	_, rest, _ := strings.Cut(text, key)
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// Of returns a kind, or nil if the definitions do not have it in that version. The error is a fault of the definitions.
func Of(gvk runtimeschema.GroupVersionKind) (*Kind, error) {
	all, err := index()
	if err != nil {
		return nil, err
	}
	d := all[gvk.GroupKind()]
	if d == nil {
		return nil, nil
	}
	d.once.Do(d.read)
	return d.kinds[gvk], d.err
}

func (d *definition) read() {
	text, err := crd.Bases.ReadFile(d.file)
	if err != nil {
		d.err = err
		return
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		d.err = fmt.Errorf("read %s: %w", d.file, err)
		return
	}
	d.kinds = map[runtimeschema.GroupVersionKind]*Kind{}
	for _, v := range crd.Spec.Versions {
		k, err := newKind(v.Schema.OpenAPIV3Schema)
		if err != nil {
			d.err = fmt.Errorf("schema of %s: %w", d.file, err)
			return
		}
		k.Namespaced = crd.Spec.Scope == apiextensionsv1.NamespaceScoped
		d.kinds[runtimeschema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}] = k
	}
}

// newKind does what an API server does when a definition is installed.
func newKind(props *apiextensionsv1.JSONSchemaProps) (*Kind, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props, &internal, nil); err != nil {
		return nil, err
	}
	k := &Kind{}
	var err error
	if k.structural, err = schema.NewStructural(&internal); err != nil {
		return nil, err
	}
	if k.validator, _, err = validation.NewSchemaValidator(&internal); err != nil {
		return nil, err
	}
	k.rules = cel.NewValidator(k.structural, true, celconfig.PerCallLimit)
	return k, nil
}

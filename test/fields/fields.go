package fields

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/test/golden"
)

// Field is one leaf field.
type Field struct {
	// Path is the kind and the JSON path below spec, with [] for list items.
	Path string `json:"path"`
	// Case is a golden file that notices the field; empty if none does.
	Case string `json:"case,omitempty"`
	// Effect is the plainest that any golden file shows.
	Effect Effect `json:"effect"`
	// Rule is that by which the field works differently than in App Mesh, or not at all; nil if there is none.
	Rule *meshv1beta2.Rule `json:"rule,omitempty"`
}

// Without is true when the field has no effect in Envoy, and a rule says so.
func (f Field) Without() bool { return f.Rule != nil && f.Rule.NoEffect }

// kinds are the specs by kind.
var kinds = map[string]any{
	"Mesh": meshv1beta2.MeshSpec{}, "VirtualNode": meshv1beta2.VirtualNodeSpec{}, "VirtualService": meshv1beta2.VirtualServiceSpec{},
	"VirtualRouter": meshv1beta2.VirtualRouterSpec{}, "VirtualGateway": meshv1beta2.VirtualGatewaySpec{},
	"GatewayRoute": meshv1beta2.GatewayRouteSpec{}, "BackendGroup": meshv1beta2.BackendGroupSpec{},
}

// All lists the leaf fields of App Mesh's kinds, sorted. Labels of a selector are one field.
func All() []string {
	var out []string
	for kind, spec := range kinds {
		leaves(reflect.TypeOf(spec), kind, &out)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var selector = reflect.TypeFor[metav1.LabelSelector]()

func leaves(t reflect.Type, path string, out *[]string) {
	switch t.Kind() {
	case reflect.Pointer:
		leaves(t.Elem(), path, out)
	case reflect.Slice:
		leaves(t.Elem(), path+"[]", out)
	case reflect.Struct:
		if t == selector {
			for _, leaf := range []string{"matchLabels", "matchExpressions[].key", "matchExpressions[].operator", "matchExpressions[].values[]"} {
				*out = append(*out, path+"."+leaf)
			}
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.Anonymous {
				leaves(f.Type, path+"."+name, out)
			} else {
				leaves(f.Type, path, out)
			}
		}
	default:
		*out = append(*out, path)
	}
}

// Count finds a case and the effect of every field among the golden files of a folder. The CRDs tell which values an enumeration has.
func Count(dir string, crds Schemas) ([]Field, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no golden files in %s: %w", dir, errors.Join(err, io.EOF))
	}
	found := map[string]*Field{}
	for _, path := range All() {
		found[path] = &Field{Path: path, Rule: deviation(path)}
	}
	for _, path := range files {
		f, err := golden.Parse(path)
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(f.Comment), "reference: false") {
			continue // it shows consequences of fields that meet, not the fields
		}
		if err := inspect(f, crds, found); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var out []Field
	for _, path := range All() {
		out = append(out, *found[path])
	}
	return out, nil
}

// deviation returns the rule by which a field is not what it was in App Mesh.
func deviation(path string) *meshv1beta2.Rule {
	for _, r := range meshv1beta2.Rules() {
		for _, f := range r.Fields {
			if path == f || strings.HasPrefix(path, f+".") || strings.HasPrefix(path, f+"[]") {
				return &r
			}
		}
	}
	return nil
}

// inspect changes every leaf of a file's input and looks at what comes out.
func inspect(f *golden.File, crds Schemas, found map[string]*Field) error {
	docs, err := documents(f.Files[0].Data)
	if err != nil {
		return err
	}
	want, before, err := outcome(f, docs)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(f.Path), ".txtar")
	for _, doc := range docs {
		kind := fmt.Sprint(doc["kind"])
		spec, ok := doc["spec"].(map[string]any)
		if _, known := kinds[kind]; !known || !ok {
			continue
		}
		for _, l := range find(spec, kind) {
			field := found[l.path]
			if field == nil {
				return fmt.Errorf("%s is not a field", l.path)
			}
			for _, change := range l.changes(crds) {
				if field.Case != "" && len(field.Effect.Envoy) == 1 {
					break // it cannot be said more plainly
				}
				change()
				got, after, err := outcome(f, docs)
				l.restore()
				if field.Case == "" && (err != nil || !maps.Equal(got, want)) {
					field.Case = name
				}
				if err != nil {
					continue // such a value cannot even be stored
				}
				e, err := compare(before, after)
				if err != nil {
					return err
				}
				if e.some() && e.plainer(field.Effect) {
					field.Effect = e
				}
			}
		}
	}
	return nil
}

// outcome is what the expected sections say of the documents. Messages are part of it: a field that only a message mentions is read.
func outcome(f *golden.File, docs []map[string]any) (map[string]string, *pipeline.Snapshot, error) {
	var all bytes.Buffer
	for _, d := range docs {
		b, err := yaml.Marshal(d)
		if err != nil {
			return nil, nil, err
		}
		all.WriteString("---\n")
		all.Write(b)
	}
	s, err := f.Step(all.Bytes())
	if err != nil {
		return nil, nil, err
	}
	out := map[string]string{}
	for _, section := range f.Files[1:] {
		text, err := golden.Section(s, section.Name)
		if err != nil {
			text = err.Error() // the group is gone
		}
		out[section.Name] = text
	}
	return out, s, nil
}

func documents(b []byte) ([]map[string]any, error) {
	var out []map[string]any
	for d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096); ; {
		var doc map[string]any
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		case doc != nil:
			out = append(out, doc)
		}
	}
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	default:
		return false
	}
}

// place is where a leaf stands in a document.
type place struct {
	path   string
	in     any // map[string]any with key, or []any with index
	key    string
	index  int
	before any
}

func (p place) set(v any) {
	switch in := p.in.(type) {
	case map[string]any:
		in[p.key] = v
	case []any:
		in[p.index] = v
	}
}

func (p place) restore() { p.set(p.before) }

// changes are the absence of the field, and other values.
func (p place) changes(crds Schemas) []func() {
	var out []func()
	if in, ok := p.in.(map[string]any); ok {
		out = append(out, func() { delete(in, p.key) })
	}
	to := func(v any) { out = append(out, func() { p.set(v) }) }
	switch v := p.before.(type) {
	case map[string]any:
		to(map[string]any{"other": "labels"})
	case []any:
		to(append(slices.Clone(v), v...)[1:])
		if schema, _, _ := crds.at(p.path); len(schema.Enum) == 0 {
			if last, ok := v[len(v)-1].(string); ok {
				to(append(slices.Clone(v[:len(v)-1]), last+"x")) // the schema may not allow that the list is empty or longer
			}
		}
	case string:
		schema, _, _ := crds.at(p.path)
		for _, e := range schema.Enum {
			if other := strings.Trim(string(e.Raw), `"`); other != v {
				to(other)
			}
		}
		if len(schema.Enum) == 0 {
			to(v + "x")
		}
	case bool:
		to(!v)
	case float64:
		to(v + 1)
	case int64:
		to(v + 1)
	}
	return out
}

// find lists the leaves of a document.
func find(v any, path string) []place {
	var out []place
	leaf := func(v any, p place) {
		switch below := v.(type) {
		case map[string]any:
			if strings.HasSuffix(p.path, ".matchLabels") {
				out = append(out, p)
				return
			}
			out = append(out, find(below, p.path)...)
		case []any:
			if len(below) > 0 && !composite(below[0]) {
				p.path += "[]"
				out = append(out, p)
				return
			}
			out = append(out, find(below, p.path+"[]")...)
		default:
			out = append(out, p)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			leaf(v[key], place{path: path + "." + key, in: v, key: key, before: v[key]})
		}
	case []any:
		for i := range v {
			leaf(v[i], place{path: path, in: v, index: i, before: v[i]})
		}
	}
	return out
}

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
	"github.com/aftermesh/aftermesh/test/golden"
)

// Field is one leaf field.
type Field struct {
	// Path is the kind and the JSON path below spec, with [] for list items.
	Path string `json:"path"`
	// Case is a golden file that notices the field; empty if none does.
	Case string `json:"case,omitempty"`
	// Without says why the field has no effect, in App Mesh as here.
	Without string `json:"without,omitempty"`
}

// without are the fields that have no effect. That the block they stand in has none is told by a condition.
var without = map[string]string{
	"VirtualGateway.listeners[].healthCheck.healthyThreshold":   "nobody makes a gateway's own health check",
	"VirtualGateway.listeners[].healthCheck.intervalMillis":     "nobody makes a gateway's own health check",
	"VirtualGateway.listeners[].healthCheck.timeoutMillis":      "nobody makes a gateway's own health check",
	"VirtualGateway.listeners[].healthCheck.unhealthyThreshold": "nobody makes a gateway's own health check",
}

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

// Count finds a case for every field among the golden files of a folder.
func Count(dir string) ([]Field, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no golden files in %s: %w", dir, errors.Join(err, io.EOF))
	}
	found := map[string]string{}
	for _, path := range files {
		f, err := golden.Parse(path)
		if err != nil {
			return nil, err
		}
		if err := inspect(f, found); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var out []Field
	for _, path := range All() {
		out = append(out, Field{path, found[path], without[path]})
	}
	return out, nil
}

// inspect tries every leaf of a file's input that has no case yet.
func inspect(f *golden.File, found map[string]string) error {
	docs, err := documents(f.Files[0].Data)
	if err != nil {
		return err
	}
	want, err := outcome(f, docs)
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
			if found[l.path] != "" {
				continue
			}
			for _, change := range l.changes() {
				change()
				got, err := outcome(f, docs)
				l.restore()
				if err != nil || !maps.Equal(got, want) {
					found[l.path] = name
					break
				}
			}
		}
	}
	return nil
}

// outcome is what the expected sections say of the documents. Messages are part of it: a field that only a message mentions is read.
func outcome(f *golden.File, docs []map[string]any) (map[string]string, error) {
	var all bytes.Buffer
	for _, d := range docs {
		b, err := yaml.Marshal(d)
		if err != nil {
			return nil, err
		}
		all.WriteString("---\n")
		all.Write(b)
	}
	s, err := f.Step(all.Bytes())
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, section := range f.Files[1:] {
		if out[section.Name], err = golden.Section(s, section.Name); err != nil {
			return nil, err
		}
	}
	return out, nil
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

// changes are other values, and the absence of the field.
func (p place) changes() []func() {
	var out []func()
	if in, ok := p.in.(map[string]any); ok {
		out = append(out, func() { delete(in, p.key) })
	}
	switch v := p.before.(type) {
	case map[string]any:
		out = append(out, func() { p.set(map[string]any{"other": "labels"}) })
	case string:
		out = append(out, func() { p.set(v + "x") })
	case bool:
		out = append(out, func() { p.set(!v) })
	case float64:
		out = append(out, func() { p.set(v + 1) })
	case int64:
		out = append(out, func() { p.set(v + 1) })
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

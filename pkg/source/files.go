package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Files is what was read from manifests.
type Files struct {
	Objects compile.Objects
	// Pods and workloads found beside our kinds, for injection.
	Other []Document
	// Faults are documents that could not be read; they are left out and nothing else suffers.
	Faults []Fault
	// Skipped counts the documents of kinds that mean nothing here, by "group/version Kind".
	Skipped map[string]int
	// documents by object, to find the line of a field.
	documents map[mesh.Object]Document
}

// Document is one YAML document.
type Document struct {
	// File as named by the user, and the line of its first content, from 1.
	File string
	Line int
	// JSON is the document in JSON, Kind its group, version and kind.
	JSON []byte
	Kind schema.GroupVersionKind
	node *yamlv3.Node
}

// Fault is a document that could not be read.
type Fault struct {
	File    string
	Line    int
	Message string
}

// Error returns "file:line: message".
func (f Fault) Error() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message) }

// ReadFiles reads manifests from files, folders (with everything below them) and, for "-", from stdin. Objects without a namespace
// get the given one. The error is about what could not be opened; what could not be understood is in the Faults.
func ReadFiles(paths []string, namespace string, stdin io.Reader) (*Files, error) {
	f := &Files{Skipped: map[string]int{}, documents: map[mesh.Object]Document{}}
	f.Objects.Settings.Offline = true
	for _, p := range paths {
		if p == "-" {
			b, err := io.ReadAll(stdin)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			f.read("-", b, namespace)
			continue
		}
		names, err := manifests(p)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			f.read(name, b, namespace)
		}
	}
	return f, nil
}

// manifests lists the YAML and JSON files at or below a path, sorted; hidden files and folders are left out.
func manifests(root string) ([]string, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{root}, nil
	}
	var names []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != root && strings.HasPrefix(d.Name(), ".") && d.IsDir():
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		if slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			names = append(names, path)
		}
		return nil
	})
	return names, err
}

func (f *Files) read(file string, content []byte, namespace string) {
	dec := yamlv3.NewDecoder(bytes.NewReader(content))
	for {
		var n yamlv3.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.Faults = append(f.Faults, Fault{File: file, Line: errorLine(err), Message: strings.TrimPrefix(err.Error(), "yaml: ")})
			return
		}
		if len(n.Content) > 0 {
			f.document(file, n.Content[0], namespace)
		}
	}
}

// errorLine finds the line that the YAML library mentions in its text; there is no other way to learn it.
func errorLine(err error) int {
	line := 1
	if _, rest, ok := strings.Cut(err.Error(), "line "); ok {
		if _, scanErr := fmt.Sscanf(rest, "%d", &line); scanErr != nil {
			return 1
		}
	}
	return line
}

// document sorts one document in; lists are taken apart.
func (f *Files) document(file string, n *yamlv3.Node, namespace string) {
	fault := func(format string, args ...any) {
		f.Faults = append(f.Faults, Fault{File: file, Line: n.Line, Message: fmt.Sprintf(format, args...)})
	}
	if n.Kind == yamlv3.ScalarNode && n.Tag == "!!null" {
		return
	}
	raw, err := yamlv3.Marshal(n)
	if err != nil {
		fault("cannot be read: %v", err)
		return
	}
	js, err := yaml.YAMLToJSON(raw)
	if err != nil {
		fault("cannot be read: %v", err)
		return
	}
	var meta struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(js, &meta); err != nil {
		fault("is not a Kubernetes object: %v", err)
		return
	}
	gvk := meta.GroupVersionKind()
	if gvk.Kind == "List" && gvk.Group == "" {
		if items := child(n, "items"); items != nil {
			for _, item := range items.Content {
				f.document(file, item, namespace)
			}
		}
		return
	}
	if gvk.Kind == "" || gvk.Version == "" {
		fault("has no apiVersion and kind")
		return
	}
	d := Document{File: file, Line: n.Line, JSON: js, Kind: gvk, node: n}
	if err := f.add(d, namespace); err != nil {
		fault("%s %s: %v", gvk.Kind, meta.Name, err)
	}
}

// add decodes a document of a kind that matters.
func (f *Files) add(d Document, namespace string) error {
	o := &f.Objects
	switch {
	case d.Kind.Group == meshv1beta2.GroupVersion.Group && d.Kind.Version == meshv1beta2.GroupVersion.Version:
		return f.addOwn(d, namespace)
	case d.Kind.Group == meshv1alpha1.GroupName && d.Kind.Kind == "MeshSettings":
		return f.addSettings(d)
	case d.Kind.Group == "" && d.Kind.Kind == "Namespace":
		var ns corev1.Namespace
		if err := yaml.Unmarshal(d.JSON, &ns); err != nil {
			return err
		}
		labels := map[string]string{"kubernetes.io/metadata.name": ns.Name}
		for k, v := range ns.Labels {
			labels[k] = v
		}
		o.Namespaces = append(o.Namespaces, compile.Namespace{Name: ns.Name, Labels: labels})
	case d.Kind.Group == "" && d.Kind.Kind == "Service":
		var s corev1.Service
		if err := yaml.Unmarshal(d.JSON, &s); err != nil {
			return err
		}
		if s.Namespace == "" {
			s.Namespace = namespace
		}
		o.Services = append(o.Services, convertService(&s))
	case d.Kind.Group == discoveryv1.GroupName && d.Kind.Kind == "EndpointSlice":
		var e discoveryv1.EndpointSlice
		if err := yaml.Unmarshal(d.JSON, &e); err != nil {
			return err
		}
		o.Slices = append(o.Slices, convertSlice(&e))
	case podTemplates[d.Kind.GroupKind().String()]:
		f.Other = append(f.Other, d)
		if d.Kind.Kind == "Pod" {
			var p corev1.Pod
			if err := yaml.Unmarshal(d.JSON, &p); err != nil {
				return err
			}
			o.Pods = append(o.Pods, convertPod(&p).Pod)
		}
	default:
		f.Skipped[d.Kind.GroupVersion().String()+" "+d.Kind.Kind]++
	}
	return nil
}

// addSettings decodes the settings of a mesh. Secrets are no part of what is read from files, so certificates map to nothing.
func (f *Files) addSettings(d Document) error {
	var m meshv1alpha1.MeshSettings
	if err := yaml.UnmarshalStrict(d.JSON, &m); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "error unmarshaling JSON: while decoding JSON: json: "))
	}
	for _, other := range f.Objects.MeshSettings {
		if other.Name == m.Name {
			return fmt.Errorf("MeshSettings %s was given before", m.Name)
		}
	}
	f.Objects.MeshSettings = append(f.Objects.MeshSettings, &m)
	return nil
}

// podTemplates are the kinds that pods come from.
var podTemplates = map[string]bool{
	"Pod": true, "Deployment.apps": true, "StatefulSet.apps": true, "DaemonSet.apps": true, "ReplicaSet.apps": true,
	"Job.batch": true, "CronJob.batch": true, "Rollout.argoproj.io": true,
}

func (f *Files) addOwn(d Document, namespace string) error {
	o := &f.Objects
	switch d.Kind.Kind {
	case "Mesh":
		return decodeOwn(f, d, "", &o.Meshes)
	case "VirtualNode":
		return decodeOwn(f, d, namespace, &o.VirtualNodes)
	case "VirtualService":
		return decodeOwn(f, d, namespace, &o.VirtualServices)
	case "VirtualRouter":
		return decodeOwn(f, d, namespace, &o.VirtualRouters)
	case "Route":
		return decodeOwn(f, d, namespace, &o.Routes)
	case "VirtualGateway":
		return decodeOwn(f, d, namespace, &o.VirtualGateways)
	case "GatewayRoute":
		return decodeOwn(f, d, namespace, &o.GatewayRoutes)
	case "BackendGroup":
		return decodeOwn(f, d, namespace, &o.BackendGroups)
	default:
		return fmt.Errorf("%s has no kind %q", d.Kind.GroupVersion(), d.Kind.Kind)
	}
}

// decodeOwn decodes strictly: a field that does not exist is a mistake of spelling that the API server would drop silently.
func decodeOwn[T any, P interface {
	*T
	meshv1beta2.Object
}](f *Files, d Document, namespace string, list *[]P) error {
	o := P(new(T))
	if err := yaml.UnmarshalStrict(d.JSON, o); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "error unmarshaling JSON: while decoding JSON: json: "))
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(namespace)
	}
	id := mesh.Object{Kind: d.Kind.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	if other, ok := f.documents[id]; ok {
		return fmt.Errorf("%s was given before, at %s:%d", id, other.File, other.Line)
	}
	f.documents[id] = d
	*list = append(*list, o)
	return nil
}

// Position returns the file and line of a field of an object, or of the nearest thing around it that is written down.
func (f *Files) Position(o mesh.Object, path string) (file string, line int) {
	d, ok := f.documents[o]
	if !ok {
		return "", 0
	}
	line = d.Line
	n := d.node
	for _, part := range splitPath(path) {
		if n = child(n, part); n == nil {
			break
		}
		line = n.Line
	}
	return d.File, line
}

// splitPath takes "spec.routes[0].name" apart into spec, routes, 0, name.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// child returns the value under a key of a mapping or at an index of a sequence.
func child(n *yamlv3.Node, key string) *yamlv3.Node {
	switch n.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	case yamlv3.SequenceNode:
		var i int
		if _, err := fmt.Sscanf(key, "%d", &i); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// kustomizations are the names of files that say how to build manifests and are none themselves.
var kustomizations = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// Kustomization is the kind under which such files are counted as skipped.
const Kustomization = "kustomize.config.k8s.io/v1beta1 Kustomization"

func (f *Files) read(file string, content []byte, namespace string) {
	if slices.Contains(kustomizations, filepath.Base(file)) {
		f.Skipped[Kustomization]++
		return
	}
	dec := yamlv3.NewDecoder(bytes.NewReader(content))
	for {
		var n yamlv3.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.Faults = append(f.Faults, Fault{File: file, Line: errorLine(err), Reason: ReasonUnreadable, Message: "cannot be read: " + unreadable(err)})
			return
		}
		if len(n.Content) > 0 {
			f.document(file, n.Content[0], namespace)
		}
	}
}

// unreadable is what the YAML library says without the line, which stands elsewhere.
func unreadable(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if _, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "line ") {
		return rest
	}
	return text
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

// document converts a document to JSON, once for all that it contains, and sorts it in.
func (f *Files) document(file string, n *yamlv3.Node, namespace string) {
	raw, err := yamlv3.Marshal(n)
	if err == nil {
		raw, err = yaml.YAMLToJSON(raw)
	}
	var value any
	if err == nil {
		err = utiljson.Unmarshal(raw, &value)
	}
	if err != nil {
		f.Faults = append(f.Faults, Fault{File: file, Line: n.Line, Reason: ReasonUnreadable, Message: fmt.Sprintf("cannot be read: %v", err)})
		return
	}
	if value != nil {
		f.sortIn(file, n, value, namespace, 0)
	}
}

// maxNesting is how deep Lists may lie in Lists. Those that tools make have no Lists in them.
const maxNesting = 8

// sortIn sorts in what a node says; lists are taken apart.
func (f *Files) sortIn(file string, n *yamlv3.Node, value any, namespace string, depth int) {
	fault := func(format string, args ...any) {
		f.Faults = append(f.Faults, Fault{File: file, Line: n.Line, Reason: ReasonUnreadable, Message: fmt.Sprintf(format, args...)})
	}
	object, ok := value.(map[string]any)
	if !ok {
		fault("is not a Kubernetes object, which would be a mapping with apiVersion, kind and metadata")
		return
	}
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	gvk := schema.FromAPIVersionAndKind(apiVersion, kind)
	d := Document{File: file, Line: n.Line, Kind: gvk, node: n}
	switch {
	case gvk.Kind == "" || gvk.Version == "":
		fault("has no apiVersion and kind")
		return
	case gvk.Kind == "List" && gvk.Group == "" && depth == maxNesting:
		fault("Lists lie more than %d deep in Lists; write their items one beside the other", maxNesting)
		return
	case gvk.Kind == "List" && gvk.Group == "":
		f.duplicates(d, mesh.Object{}, "items")
		items, _ := object["items"].([]any)
		list := child(n, "items")
		for i, item := range items {
			at := n
			if list != nil && len(list.Content) == len(items) {
				at = list.Content[i]
			}
			f.sortIn(file, at, item, namespace, depth+1)
		}
		return
	}
	f.duplicates(d, identify(gvk, object, namespace), "")
	switch gvk.Group {
	case meshv1beta2.GroupVersion.Group, meshv1alpha1.GroupVersion.Group:
		f.addOwn(d, object, namespace)
		return
	}
	js, err := json.Marshal(object)
	if err == nil {
		d.JSON = js
		err = f.add(d, namespace)
	}
	if err != nil {
		metadata, _ := object["metadata"].(map[string]any)
		name, _ := metadata["name"].(string)
		fault("%s %s: %v", gvk.Kind, name, err)
	}
}

// add decodes a document of a foreign kind that matters.
func (f *Files) add(d Document, namespace string) error {
	o := &f.Objects
	switch {
	case d.Kind.Group == "" && d.Kind.Kind == "Namespace":
		var ns corev1.Namespace
		if err := yaml.Unmarshal(d.JSON, &ns); err != nil {
			return err
		}
		labels := map[string]string{"kubernetes.io/metadata.name": ns.Name}
		for k, v := range ns.Labels {
			labels[k] = v
		}
		o.Namespaces = append(o.Namespaces, input.Namespace{Name: ns.Name, Labels: labels})
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
		f.skip(d)
	}
	return nil
}

// skip counts a document that means nothing here.
func (f *Files) skip(d Document) { f.Skipped[d.Kind.GroupVersion().String()+" "+d.Kind.Kind]++ }

// podTemplates are the kinds that pods come from.
var podTemplates = map[string]bool{
	"Pod": true, "Deployment.apps": true, "StatefulSet.apps": true, "DaemonSet.apps": true, "ReplicaSet.apps": true,
	"Job.batch": true, "CronJob.batch": true, "Rollout.argoproj.io": true,
}

// Position returns the file and line of a field of an object, or of the nearest thing around it that is written down.
func (f *Files) Position(o mesh.Object, path string) (file string, line int) {
	d, ok := f.documents[o]
	if !ok {
		return "", 0
	}
	return d.File, d.line(path)
}

// line returns the line of a field, or of the nearest thing around it that is written down.
func (d Document) line(path string) int {
	line := d.Line
	n := d.node
	for _, part := range splitPath(path) {
		if n = child(n, part); n == nil {
			break
		}
		line = n.Line
	}
	return line
}

// splitPath takes "spec.routes[0].name" apart into spec, routes, 0, name.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// child returns the value under a key of a mapping or at an index of a sequence.
func child(n *yamlv3.Node, key string) (found *yamlv3.Node) {
	switch n.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = n.Content[i+1] // of several the last one counts
			}
		}
	case yamlv3.SequenceNode:
		var i int
		if _, err := fmt.Sscanf(key, "%d", &i); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return found
}

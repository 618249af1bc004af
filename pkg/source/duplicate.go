package source

import (
	"fmt"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// duplicates warns of every key that a mapping of the document has more than once. Of several values the last one counts, as for
// an API server. The list under the given key is left out.
func (f *Files) duplicates(d Document, id mesh.Object, without string) {
	for _, w := range duplicateKeys(d.node, d.File, id, "") {
		if without == "" || !strings.HasPrefix(w.Path, without+"[") {
			f.Warnings = append(f.Warnings, w)
		}
	}
}

// duplicateKeys lists the keys that are given again at or below a node. A node behind an alias is looked at where it is written.
func duplicateKeys(n *yamlv3.Node, file string, id mesh.Object, path string) []Fault {
	var out []Fault
	switch n.Kind {
	case yamlv3.MappingNode:
		first := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			at := key.Value
			if path != "" {
				at = path + "." + key.Value
			}
			if line, given := first[key.Value]; given && key.Kind == yamlv3.ScalarNode {
				out = append(out, Fault{File: file, Line: key.Line, Object: id, Path: at, Reason: ReasonDuplicateKey,
					Message: fmt.Sprintf("key %q was given before, at line %d, and this value counts; remove one of the two", key.Value, line)})
			}
			first[key.Value] = key.Line
			out = append(out, duplicateKeys(n.Content[i+1], file, id, at)...)
		}
	case yamlv3.SequenceNode:
		for i, item := range n.Content {
			out = append(out, duplicateKeys(item, file, id, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return out
}

package source

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Files is what was read from manifests.
type Files struct {
	Objects input.Objects
	// Refused are the objects of our kinds that an API server would not store; Faults say why.
	Refused []Refused
	// Pods and workloads found next to our kinds, for injection.
	Other []Document
	// Faults are documents that could not be read or would be refused; they are left out and nothing else suffers.
	Faults []Fault
	// Warnings are what an API server lets pass unless it validates fields strictly: fields that do not exist, which it drops, and keys
	// given twice. The object is taken all the same.
	Warnings []Fault
	// Skipped counts the documents of kinds that mean nothing here, by "group/version Kind".
	Skipped map[string]int
	// documents by object, to find the line of a field.
	documents map[mesh.Object]Document
}

// Refused is an object that an API server would not store.
type Refused struct {
	// Object is what could be read of it.
	Object meshv1beta2.Object
	// Bare says that this is nothing but kind, namespace and name.
	Bare bool
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

// Fault is what is wrong with a document, or with a field of it.
type Fault struct {
	File string
	Line int
	// Object and Path are empty where the document could not be read that far.
	Object mesh.Object
	Path   string
	// Reason is one of the constants below.
	Reason, Message string
}

// The reasons of faults and warnings.
const (
	// ReasonUnreadable is a document that is no object, or that cannot be told from another.
	ReasonUnreadable = "Unreadable"
	// ReasonInvalid is what an API server refuses.
	ReasonInvalid = "Invalid"
	// ReasonUnknownField is a field that an API server drops, and refuses where fields are validated strictly.
	ReasonUnknownField = "UnknownField"
	// ReasonDuplicateKey is a key that a mapping has twice. An API server takes the last one, and refuses it like an unknown field.
	ReasonDuplicateKey = "DuplicateKey"
	// ReasonReadOnlyField is a field that the control plane fills in.
	ReasonReadOnlyField = "ReadOnlyField"
)

// Error returns "file:line: object: path: message".
func (f Fault) Error() string {
	s := fmt.Sprintf("%s:%d: ", f.File, f.Line)
	if f.Object != (mesh.Object{}) {
		s += f.Object.String() + ": "
	}
	if f.Path != "" {
		s += f.Path + ": "
	}
	return s + f.Message
}

// Strict is true of what an API server refuses under fieldValidation=Strict only, which kubectl asks for.
func (f Fault) Strict() bool { return f.Reason == ReasonUnknownField || f.Reason == ReasonDuplicateKey }

// Own counts the objects of our kinds, refused ones included.
func (f *Files) Own() int { return len(f.documents) }

// ReadFiles reads manifests from files, folders (with everything below them) and, for "-", from stdin. Objects without a namespace
// get the given one. Objects of our kinds are what an API server would make of them. The settings are those of standalone mode. The
// error is about what could not be opened; what could not be understood is in the Faults.
func ReadFiles(paths []string, namespace string, stdin io.Reader) (*Files, error) {
	f := &Files{Skipped: map[string]int{}, documents: map[mesh.Object]Document{}}
	f.Objects.Settings.Offline, f.Objects.Settings.Loopback = true, true
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

// Folder returns root in a form that filepath.WalkDir descends into also when root is a symbolic link to a folder.
func Folder(root string) string { return strings.TrimSuffix(root, "/") + "/" }

// manifests lists the YAML and JSON files at or below a path, sorted; hidden files and folders are left out. The path may be a
// symbolic link; links to folders below it are not followed.
func manifests(root string) ([]string, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{root}, nil
	}
	var names []string
	root = Folder(root)
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

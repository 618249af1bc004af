package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
)

// fileFlags are the flags of every verb that reads manifests.
type fileFlags struct {
	paths     []string
	namespace string
	exempt    []string
	groups    bool
}

func (f *fileFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVarP(&f.paths, "filename", "f", nil, "manifests: a file, a folder with everything below it, or - for standard input; repeatable")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "default", "namespace of objects that name none")
	c.Flags().StringSliceVar(&f.exempt, "egress-exempt", defaultExempt, "TLS server names on port 443 that pass the egress filter DROP_ALL")
	c.Flags().BoolVar(&f.groups, "enable-backend-groups", false, "let backend groups have an effect, as the operator's flag of that name")
}

// defaultExempt is App Mesh's documented exception to DROP_ALL.
var defaultExempt = []string{"*.amazonaws.com"}

// read returns the manifests, and runs the pipeline over them.
func (f *fileFlags) read(stdin io.Reader) (*source.Files, *pipeline.Snapshot, error) {
	if len(f.paths) == 0 {
		return nil, nil, usageError{errors.New("-f says which manifests to read")}
	}
	files, err := source.ReadFiles(f.paths, f.namespace, stdin)
	if err != nil {
		return nil, nil, err
	}
	files.Objects.Settings.EgressExempt, files.Objects.Settings.BackendGroups = f.exempt, f.groups
	return files, pipeline.New(nil, time.Now).Step(&files.Objects), nil
}

// finding is one fault in a manifest as `check -f` prints it.
type finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Severity string `json:"severity"`
	Object   string `json:"object,omitempty"`
	Reason   string `json:"reason"`
	Path     string `json:"path,omitempty"`
	Message  string `json:"message"`
}

func (f finding) String() string {
	s := fmt.Sprintf("%s:%d: %s: ", f.File, f.Line, f.Severity)
	if f.Object != "" {
		s += f.Object + ": "
	}
	if f.Path != "" {
		s += f.Path + ": "
	}
	return s + f.Message + " (" + f.Reason + ")"
}

// findings lists unreadable documents and the problems of the pass, in the order of the objects.
func findings(files *source.Files, s *pipeline.Snapshot) []finding {
	var out []finding
	for _, f := range files.Faults {
		out = append(out, finding{File: f.File, Line: f.Line, Severity: mesh.Rejected.String(), Reason: "Unreadable", Message: f.Message})
	}
	for _, p := range s.Result.Problems {
		file, line := files.Position(p.Object, p.Path)
		out = append(out, finding{File: file, Line: line, Severity: p.Severity.String(), Object: p.Object.String(), Reason: p.Reason, Path: p.Path, Message: p.Message})
	}
	return out
}

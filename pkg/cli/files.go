package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/input"
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
	c.Annotations = map[string]string{dies: "true"}
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		if err := given(c, "filename"); err != nil {
			return err
		}
		return goodNamespace(f.namespace)
	}
	c.Flags().StringSliceVarP(&f.paths, "filename", "f", nil, "manifests: a file, a folder with everything below it, or - for standard input; repeatable")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "default", "namespace of objects that name none")
	c.Flags().StringSliceVar(&f.exempt, "egress-exempt", defaultExempt, "TLS server names on port 443 that pass the egress filter DROP_ALL")
	c.Flags().BoolVar(&f.groups, "enable-backend-groups", false, "let backend groups have an effect, as the operator's flag of that name")
}

// defaultExempt is App Mesh's documented exception to DROP_ALL.
var defaultExempt = []string{"*.amazonaws.com"}

// goodNamespace refuses what can be no namespace, the value of -n.
func goodNamespace(name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return usageError{fmt.Errorf("--namespace %q is no name of a namespace: it takes small letters, digits and '-'", name)}
	}
	return nil
}

// read reads the manifests.
func (f *fileFlags) read(stdin io.Reader) (*source.Files, error) {
	if len(f.paths) == 0 {
		return nil, usageError{errors.New("-f is missing: name a file or folder of manifests, or - for standard input")}
	}
	files, err := source.ReadFiles(f.paths, f.namespace, stdin)
	if err != nil {
		return nil, err
	}
	files.Admit()
	o := &files.Objects.Settings
	o.EgressExempt, o.BackendGroups = f.exempt, f.groups
	o.Loopback = false // the verbs say what a cluster would do
	return files, nil
}

// compile reads the manifests and runs the pipeline over what a cluster would have stored of them. What is wrong with them goes to
// standard error; the last error is errFault if something was refused, and the snapshot is there all the same.
func (f *fileFlags) compile(c *cobra.Command) (*pipeline.Snapshot, error) {
	files, err := f.read(c.InOrStdin())
	if err != nil {
		return nil, err
	}
	s := pipeline.New(nil, time.Now).Step(&files.Objects)
	found, _ := withoutConsequences(files, problemFindings(files, s.Result.Problems))
	for _, l := range slices.Concat(readFindings(files), found) {
		if l.Severity == mesh.Rejected.String() {
			fmt.Fprintln(c.ErrOrStderr(), l)
			err = errFault
		}
	}
	return s, err
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

// readFindings lists what was found while reading.
func readFindings(files *source.Files) []finding {
	var out []finding
	add := func(f source.Fault, severity mesh.Severity) {
		l := finding{File: f.File, Line: f.Line, Severity: severity.String(), Reason: f.Reason, Path: f.Path, Message: f.Message}
		if f.Object != (mesh.Object{}) {
			l.Object = f.Object.String()
		}
		out = append(out, l)
	}
	for _, f := range files.Faults {
		add(f, mesh.Rejected)
	}
	for _, f := range files.Warnings {
		add(f, mesh.Adjusted)
	}
	return out
}

// problemFindings lists problems with their places, in the order given.
func problemFindings(files *source.Files, problems []mesh.Problem) []finding {
	out := make([]finding, 0, len(problems))
	for _, p := range problems {
		file, line := files.Position(p.Object, p.Path)
		out = append(out, finding{File: file, Line: line, Severity: p.Severity.String(), Object: p.Object.String(), Reason: p.Reason, Path: p.Path, Message: p.Message})
	}
	return out
}

// withoutConsequences leaves out, and counts, what is said about missing objects while a document cannot be read that may hold them.
func withoutConsequences(files *source.Files, list []finding) (rest []finding, leftOut int) {
	if !slices.ContainsFunc(files.Faults, func(f source.Fault) bool {
		return f.Reason == source.ReasonUnreadable && (f.Object == mesh.Object{} || f.Path == "kind")
	}) {
		return list, 0
	}
	rest = slices.DeleteFunc(slices.Clone(list), func(f finding) bool {
		return slices.ContainsFunc([]string{"NotFound", "NotDesignated", "NotActive"}, func(end string) bool { return strings.HasSuffix(f.Reason, end) })
	})
	return rest, len(list) - len(rest)
}

// problems returns what the pass finds in the objects that an API server would store. What only follows from refused objects is no
// finding: whoever mends these gets rid of it. So references to a refused object count as resolved, and where nothing of it could
// be read but its name, problems that arise from its emptiness do not count either.
func problems(files *source.Files) []mesh.Problem {
	refused := map[mesh.Object]bool{}
	var readable, all []meshv1beta2.Object
	for _, r := range files.Refused {
		c := r.Object.Common()
		if m, ok := r.Object.(*meshv1beta2.Mesh); ok && r.Bare && len(input.Of[*meshv1beta2.Mesh](&files.Objects)) == 0 {
			m.Spec.NamespaceSelector = &metav1.LabelSelector{} // nobody knows which namespaces it selects: all
		}
		refused[input.ID(r.Object)] = true
		if all = append(all, r.Object); !r.Bare || c.Kind == "Mesh" {
			readable = append(readable, r.Object)
		}
	}
	pass := func(with []meshv1beta2.Object) []mesh.Problem {
		o := files.Objects
		input.Add(&o, with...)
		var c compile.Compiler
		return slices.DeleteFunc(c.Compile(&o).Problems, func(p mesh.Problem) bool { return refused[p.Object] })
	}
	found := pass(all)
	if len(readable) == len(all) {
		return found
	}
	without := pass(readable)
	return slices.DeleteFunc(found, func(p mesh.Problem) bool { return p.Severity != mesh.Adjusted && !slices.Contains(without, p) })
}

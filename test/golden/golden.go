// Package golden reads the files that say what becomes of manifests: an archive with the manifests as input.yaml and, section by
// section, the problems and the resources that are expected.
//
//	-- input.yaml --
//	-- problems --
//	-- hosts --
//	-- <group id> lds|rds|cds|eds|sds --
//
// A file with "cluster: true" in its comment is compiled as in a cluster, with the Pods and slices it contains; with "groups: true" as by an
// operator that has backend groups switched on. With "reference: false" it is no source for the reference of fields.
package golden

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Input is the name of the section with the manifests.
const Input = "input.yaml"

// kinds are the types of resources by the name they have in sections.
var kinds = map[string]string{
	"lds": xds.ListenerType, "rds": xds.RouteType, "cds": xds.ClusterType, "eds": xds.EndpointType, "sds": xds.SecretType,
}

// File is one golden file.
type File struct {
	Path string
	*txtar.Archive
}

// Parse reads a file. Its first section must be the input.
func Parse(path string) (*File, error) {
	ar, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	if len(ar.Files) == 0 || ar.Files[0].Name != Input {
		return nil, fmt.Errorf("%s: the first section is not %s", path, Input)
	}
	return &File{path, ar}, nil
}

// Step compiles and translates manifests, which may be others than the file's, in the way that the file's comment says.
func (f *File) Step(manifests []byte) (*pipeline.Snapshot, error) {
	in, err := source.ReadFiles([]string{"-"}, "default", bytes.NewReader(manifests))
	if err != nil {
		return nil, err
	}
	for _, fault := range in.Faults {
		return nil, fault
	}
	comment := string(f.Comment)
	offline := !strings.Contains(comment, "cluster: true")
	in.Objects.Settings.Offline, in.Objects.Settings.Loopback = offline, offline
	in.Objects.Settings.EgressExempt = []string{"*.amazonaws.com"}
	in.Objects.Settings.BackendGroups = strings.Contains(comment, "groups: true")
	s := pipeline.New(nil, time.Now).Step(&in.Objects)
	for _, err := range s.Failed {
		return nil, err
	}
	for _, f := range s.Faults {
		return nil, fmt.Errorf("compile let a fault through: %s: %s: %s", f.Object, f.Resource, f.Text)
	}
	return s, nil
}

// Section renders what a section says of a snapshot.
func Section(s *pipeline.Snapshot, name string) (string, error) {
	var sb strings.Builder
	if name == "problems" {
		for _, p := range s.Result.Problems {
			fmt.Fprintf(&sb, "%s %s %s %s\n  %s\n", p.Severity, p.Object, p.Reason, p.Path, p.Message)
		}
		return sb.String(), nil
	}
	if name == "hosts" {
		for _, h := range s.Result.Model.Hosts {
			fmt.Fprintf(&sb, "%s %s in %s of %s\n", h.Name, strings.Join(h.Addresses, " "), h.Zone, h.Object)
		}
		return sb.String(), nil
	}
	group, kind, ok := strings.Cut(name, " ")
	set := s.Sets[group]
	if !ok || set == nil || kinds[kind] == "" {
		return "", fmt.Errorf("section %q is not '<group id> lds|rds|cds|eds|sds' of an existing group", name)
	}
	for _, r := range set.Resources(kinds[kind]) {
		m, err := r.Message()
		if err != nil {
			return "", err
		}
		js, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			return "", err
		}
		y, err := yaml.JSONToYAML(js)
		if err != nil {
			return "", err
		}
		sb.WriteString("# " + r.Name + "\n")
		sb.Write(y)
	}
	return sb.String(), nil
}

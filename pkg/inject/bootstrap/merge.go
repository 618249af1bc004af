package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Variables of App Mesh's image that name files with parts of the bootstrap.
const (
	ConfigFile     = "ENVOY_CONFIG_FILE"
	TracingFile    = "ENVOY_TRACING_CFG_FILE"
	StatsFile      = "ENVOY_STATS_CONFIG_FILE"
	StatsSinksFile = "ENVOY_STATS_SINKS_CFG_FILE"
	ResourcesFile  = "ENVOY_RESOURCES_CONFIG_FILE"
)

// FileVariables are all of them, in the order in which their files are merged.
var FileVariables = []string{ConfigFile, TracingFile, StatsFile, StatsSinksFile, ResourcesFile}

// replaces is the part of our own bootstrap that a variable's file stands for.
var replaces = map[string]string{TracingFile: "tracing", StatsFile: "stats_config", StatsSinksFile: "stats_sinks"}

// File is what a variable names.
type File struct {
	Variable, Path string
	// Content is YAML or JSON.
	Content []byte
}

func (f File) String() string { return fmt.Sprintf("%s of the variable %s", f.Path, f.Variable) }

// object is a part of a bootstrap. It is generic because files may use extensions that only Envoy knows.
type object = map[string]any

// Merge puts the files, in the order of FileVariables, into a bootstrap in JSON and returns the whole, with warnings.
//
//  1. A ConfigFile that is not empty is the whole bootstrap; nothing of base is left and the other files have no effect.
//  2. What a file stands for (replaces) goes from base; a StatsSinksFile must bring its own.
//  3. The lists of static_resources and stats_sinks are added to; a second tracing or stats_config is an error.
//  4. Any other field at the top takes the place of ours, with a warning.
//
// Errors name the file and the variable. Source: App Mesh user guide, Envoy image variables.
func Merge(base []byte, files []File) (merged []byte, warnings []string, err error) {
	m := merger{}
	if err := json.Unmarshal(base, &m.all); err != nil {
		return nil, nil, fmt.Errorf("decode the bootstrap of the injector: %w", err)
	}
	slices.SortStableFunc(files, func(a, b File) int {
		return slices.Index(FileVariables, a.Variable) - slices.Index(FileVariables, b.Variable)
	})
	for _, f := range files {
		if f.Variable == ConfigFile && len(bytes.TrimSpace(f.Content)) > 0 {
			return m.whole(f, files)
		}
		delete(m.all, replaces[f.Variable])
	}
	for _, f := range files {
		if err := m.add(f); err != nil {
			return nil, nil, err
		}
	}
	merged, err = json.Marshal(m.all)
	return merged, m.warnings, err
}

// merger is a merge under way.
type merger struct {
	all      object
	warnings []string
}

func (m *merger) warn(format string, args ...any) {
	m.warnings = append(m.warnings, fmt.Sprintf(format, args...))
}

func (m *merger) whole(f File, files []File) ([]byte, []string, error) {
	content, err := f.decode()
	if err != nil {
		return nil, nil, err
	}
	m.warn("%s is the whole bootstrap: nothing of the mesh is in it unless it says so itself, nor are the admin port and the ports of probes", f)
	for _, other := range files {
		if other.Variable != ConfigFile {
			m.warn("%s has no effect beside %s", other, ConfigFile)
		}
	}
	merged, err := json.Marshal(content)
	return merged, m.warnings, err
}

// decode reads the fields at the top under their names with underscores.
func (f File) decode() (object, error) {
	var written, fields object = nil, object{}
	if err := yaml.Unmarshal(f.Content, &written); err != nil {
		return nil, fmt.Errorf("%s is neither YAML nor JSON with fields at the top: %w", f, err)
	}
	for _, key := range slices.Sorted(maps.Keys(written)) {
		name := snake(key)
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("%s has the field %s twice, with underscores and without; keep one", f, name)
		}
		fields[name] = written[key]
	}
	return fields, nil
}

// snake writes a field's JSON name as its proto name.
func snake(name string) string {
	var out strings.Builder
	for _, letter := range name {
		if letter >= 'A' && letter <= 'Z' {
			out.WriteByte('_')
			letter += 'a' - 'A'
		}
		out.WriteRune(letter)
	}
	return out.String()
}

func (m *merger) add(f File) error {
	fields, err := f.decode()
	if err != nil {
		return err
	}
	if f.Variable == StatsSinksFile && fields["stats_sinks"] == nil {
		return fmt.Errorf("%s has no field stats_sinks; add it, or remove the variable", f)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		switch name {
		case "static_resources":
			err = m.addResources(f, value)
		case "stats_sinks":
			m.all[name], err = appendList(f, name, m.all[name], value)
		case "tracing", "stats_config":
			if m.all[name] != nil {
				err = fmt.Errorf("%s has the field %s, but there is one already (%s); keep one of them", f, name, origin(name))
			}
			m.all[name] = value
		default:
			if m.all[name] != nil {
				m.warn("%s replaces the field %s of the bootstrap", f, name)
			}
			m.all[name] = value
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// origin says where a field may come from that there is already.
func origin(name string) string {
	for variable, field := range replaces {
		if field == name {
			return "from the variable " + variable + " or the operator's flags"
		}
	}
	return "from the operator"
}

func (m *merger) addResources(f File, value any) error {
	added, ok := value.(object)
	if !ok {
		return fmt.Errorf("%s: static_resources must have the fields listeners, clusters or secrets", f)
	}
	own, ok := m.all["static_resources"].(object)
	if !ok {
		own = object{}
	}
	for _, name := range slices.Sorted(maps.Keys(added)) {
		list, err := appendList(f, "static_resources."+name, own[name], added[name])
		if err != nil {
			return err
		}
		own[name] = list
	}
	m.all["static_resources"] = own
	return nil
}

// appendList joins two lists of objects. Names must differ: Envoy takes the first of two and says nothing about the other.
func appendList(f File, field string, own, added any) ([]any, error) {
	more, ok := added.([]any)
	if !ok && added != nil {
		return nil, fmt.Errorf("%s: %s must be a list", f, field)
	}
	list, _ := own.([]any)
	if field == "stats_sinks" {
		return append(list, more...), nil
	}
	for _, element := range more {
		name := nameOf(element)
		if name != "" && slices.ContainsFunc(list, func(e any) bool { return nameOf(e) == name }) {
			return nil, fmt.Errorf("%s: %s has the name %s, which the bootstrap has already; choose another", f, field, name)
		}
		list = append(list, element)
	}
	return list, nil
}

func nameOf(element any) string {
	fields, _ := element.(object)
	name, _ := fields["name"].(string)
	return name
}

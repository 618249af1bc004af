package bootstrap

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// base has one of everything that files touch.
const base = `
node: {id: n}
static_resources: {clusters: [{name: own}], listeners: [{name: admin}]}
stats_config: {stats_tags: [{tag_name: t}]}
tracing: {http: {name: built-in}}
stats_sinks: [{name: built-in}]
`

func TestMerge(t *testing.T) {
	cases := []struct {
		name string
		// files are the contents by variable.
		files map[string]string
		// want are the fields that differ from base; null for one that goes.
		want     string
		warnings []string
		err      string
	}{
		{name: "no file changes nothing"},
		{name: "a whole bootstrap takes the place of all", files: map[string]string{ConfigFile: "node: {id: other}", TracingFile: "tracing: {}"},
			want:     "{node: {id: other}, static_resources: null, stats_config: null, tracing: null, stats_sinks: null}",
			warnings: []string{"is the whole bootstrap", "ENVOY_TRACING_CFG_FILE has no effect beside ENVOY_CONFIG_FILE"}},
		{name: "an empty one does not", files: map[string]string{ConfigFile: " \n", ResourcesFile: "stats_sinks: [{name: more}]"},
			want: "{stats_sinks: [{name: built-in}, {name: more}]}"},
		{name: "tracing takes the place of ours and brings its cluster", files: map[string]string{TracingFile: "tracing: {http: {name: own}}\nstatic_resources: {clusters: [{name: collector}]}"},
			want: "{tracing: {http: {name: own}}, static_resources: {clusters: [{name: own}, {name: collector}], listeners: [{name: admin}]}}"},
		{name: "a file for tracing without any takes ours away", files: map[string]string{TracingFile: "{}"}, want: "{tracing: null}"},
		{name: "statistics take the place of ours", files: map[string]string{StatsFile: `{"statsConfig": {"use_all_default_tags": false}}`},
			want: "{stats_config: {use_all_default_tags: false}}"},
		{name: "sinks take the place of ours", files: map[string]string{StatsSinksFile: "stats_sinks: [{name: a}]"}, want: "{stats_sinks: [{name: a}]}"},
		{name: "sinks of several files are joined", files: map[string]string{StatsSinksFile: "stats_sinks: [{name: a}]", ResourcesFile: "statsSinks: [{name: a}]"},
			want: "{stats_sinks: [{name: a}, {name: a}]}"},
		{name: "resources are added", files: map[string]string{ResourcesFile: "staticResources: {listeners: [{name: l}], secrets: [{name: s}]}"},
			want: "{static_resources: {clusters: [{name: own}], listeners: [{name: admin}, {name: l}], secrets: [{name: s}]}}"},
		{name: "any other field replaces ours", files: map[string]string{ResourcesFile: "node: {id: mine}\nflags_path: /x"},
			want: "{node: {id: mine}, flags_path: /x}", warnings: []string{"/f of the variable ENVOY_RESOURCES_CONFIG_FILE replaces the field node of the bootstrap"}},
		{name: "sinks that are none", files: map[string]string{StatsSinksFile: "stats_config: {}"},
			err: "/f of the variable ENVOY_STATS_SINKS_CFG_FILE has no field stats_sinks; add it, or remove the variable"},
		{name: "both spellings of one field", files: map[string]string{ResourcesFile: "static_resources: {}\nstaticResources: {}"},
			err: "/f of the variable ENVOY_RESOURCES_CONFIG_FILE has the field static_resources twice"},
		{name: "a second tracing", files: map[string]string{TracingFile: "tracing: {}", ResourcesFile: "tracing: {}"},
			err: "has the field tracing, but there is one already (from the variable ENVOY_TRACING_CFG_FILE or the operator's flags)"},
		{name: "tracing beside the built-in one", files: map[string]string{ResourcesFile: "tracing: {}"}, err: "has the field tracing, but there is one already"},
		{name: "tags beside the built-in ones", files: map[string]string{ResourcesFile: "stats_config: {}"}, err: "has the field stats_config, but there is one already"},
		{name: "a cluster of a name that is taken", files: map[string]string{ResourcesFile: "static_resources: {clusters: [{name: own}]}"},
			err: "static_resources.clusters has the name own, which the bootstrap has already"},
		{name: "resources that are no object", files: map[string]string{ResourcesFile: "static_resources: [a]"}, err: "static_resources must have the fields"},
		{name: "clusters that are no list", files: map[string]string{ResourcesFile: "static_resources: {clusters: {a: b}}"}, err: "static_resources.clusters must be a list"},
		{name: "something that is no YAML", files: map[string]string{TracingFile: "a: ["}, err: "/f of the variable ENVOY_TRACING_CFG_FILE is neither YAML nor JSON"},
		{name: "a list at the top", files: map[string]string{TracingFile: "[a]"}, err: "is neither YAML nor JSON with fields at the top"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var files []File
			for variable, content := range c.files { // in any order
				files = append(files, File{Variable: variable, Path: "/f", Content: []byte(content)})
			}
			input, want := fields(t, base), fields(t, base)
			for name, value := range fields(t, c.want) {
				if want[name] = value; value == nil {
					delete(want, name)
				}
			}
			text, err := json.Marshal(input)
			if err != nil {
				t.Fatal(err)
			}
			merged, warnings, err := Merge(text, files)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, fields(t, string(merged))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(warnings) != len(c.warnings) {
				t.Fatalf("warnings %q, want %q", warnings, c.warnings)
			}
			for i := range warnings {
				if !strings.Contains(warnings[i], c.warnings[i]) {
					t.Errorf("warning %q, want %q", warnings[i], c.warnings[i])
				}
			}
		})
	}
}

func fields(t *testing.T, text string) object {
	t.Helper()
	var out object
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

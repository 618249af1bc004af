package bootstrap

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aftermesh/aftermesh/pkg/cli"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// extra are files as users of App Mesh have them, in YAML and JSON, one for each variable besides the whole bootstrap.
var extra = map[string]string{
	bootstrap.TracingFile: `
tracing:
  http:
    name: envoy.tracers.zipkin
    typed_config:
      "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig
      collector_cluster: collector
      collector_endpoint: /api/v2/spans
      collector_endpoint_version: HTTP_JSON
static_resources:
  clusters:
  - {name: collector, type: STRICT_DNS, connect_timeout: 1s, load_assignment: {cluster_name: collector, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9411}}}}]}]}}
`,
	bootstrap.StatsFile: `{"statsConfig": {"statsTags": [{"tagName": "color", "fixedValue": "blue"}]}}`,
	bootstrap.StatsSinksFile: `
stats_sinks:
- name: envoy.stat_sinks.statsd
  typed_config: {"@type": type.googleapis.com/envoy.config.metrics.v3.StatsdSink, address: {socket_address: {address: 127.0.0.1, port_value: 8125, protocol: UDP}}}
`,
	bootstrap.ResourcesFile: `
staticResources:
  secrets: [{name: word, generic_secret: {secret: {inline_string: x}}}]
  listeners:
  - name: more
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    filter_chains: [{filters: [{name: echo, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]}]
`,
}

// TestMergedBootstrapsAreAccepted runs the verb of the helper container and lets Envoy judge what it writes.
func TestMergedBootstrapsAreAccepted(t *testing.T) {
	folder := newCredentialFolder(t)
	folder.token("x")
	_, ca := certificate(t, serverName)
	s := settings(t, &controlPlane{port: 15010, ca: ca}, folder)
	s.Forwards = []bootstrap.Forward{{Listen: 15020, Methods: []string{"GET"}, Path: "/p", Port: 8080, Target: "/"}}
	base := argument(t, s)
	whole := filepath.Join(t.TempDir(), "whole.json")
	if err := os.WriteFile(whole, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	for variable := range extra {
		t.Run(variable, func(t *testing.T) { accepted(t, base, map[string]string{variable: written(t, extra[variable])}) })
	}
	t.Run("all at once", func(t *testing.T) {
		all := map[string]string{}
		for variable, content := range extra {
			all[variable] = written(t, content)
		}
		text := accepted(t, base, all)
		for _, want := range []string{"collector", `"color"`, "envoy.stat_sinks.statsd", `"more"`, `"word"`, "aftermesh-xds", "aftermesh_forward_15020", "aftermesh_admin"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is missing in the merged bootstrap", want)
			}
		}
		if strings.Contains(text, "listener_protocol") {
			t.Error("the built-in tags are still there")
		}
	})
	t.Run(bootstrap.ConfigFile, func(t *testing.T) {
		accepted(t, `{"node":{"id":"base"}}`, map[string]string{bootstrap.ConfigFile: whole})
	})
}

func written(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// accepted merges by the verb and asks both Envoys; it returns the merged bootstrap.
func accepted(t *testing.T, base string, variables map[string]string) string {
	t.Helper()
	for name, path := range variables {
		t.Setenv(name, path)
	}
	output := filepath.Join(t.TempDir(), "bootstrap.json")
	var said strings.Builder
	if code := cli.Run([]string{"aftermesh", "bootstrap", "--base", base, "--output", output}, strings.NewReader(""), &said, &said); code != 0 {
		t.Fatalf("exit code %d: %s", code, &said)
	}
	for _, version := range []string{newest, oldest} {
		out, err := exec.CommandContext(t.Context(), binary(t, version), "--mode", "validate", "-c", output, "--disable-hot-restart", "--skip-deprecated-logs").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "OK") {
			t.Errorf("Envoy %s: %v\n%s", version, err, out)
		}
	}
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

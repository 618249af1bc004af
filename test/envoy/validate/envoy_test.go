package validate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aftermesh/aftermesh/pkg/validate"
)

// envoys finds the supported Envoys: the newest must be there, by the variable ENVOY or in the cache; the oldest may be missing.
func envoys(t *testing.T) map[string]string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real Envoys")
	}
	found := map[string]string{}
	for version, variable := range map[string]string{"1.40.0": "ENVOY", "1.37.0": "ENVOY_OLDEST"} {
		path := os.Getenv(variable)
		if path == "" {
			path = filepath.Join("..", "..", "..", ".cache", "envoy", version, "envoy")
		}
		if _, err := os.Stat(path); err == nil {
			found[version] = path
		} else if variable == "ENVOY" {
			t.Fatalf("Envoy %s is not installed: %v; name it in the variable %s", version, err, variable)
		} else {
			t.Logf("SKIPPED: Envoy %s is not installed; name it in the variable %s", version, variable)
		}
	}
	return found
}

// accepts says whether Envoy takes a configuration with these log fields and path expressions.
func accepts(t *testing.T, envoy string, fields, expressions []string) (bool, string) {
	t.Helper()
	type object = map[string]any
	format := object{}
	for _, f := range fields {
		format[f] = f
	}
	var routes []object
	for _, e := range append(expressions, "/") {
		routes = append(routes, object{"match": object{"safe_regex": object{"regex": e}}, "direct_response": object{"status": 200}})
	}
	manager := object{
		"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "a",
		"route_config": object{"virtual_hosts": []object{{"name": "a", "domains": []string{"*"}, "routes": routes}}},
		"http_filters": []object{{"name": "r", "typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}},
		"access_log": []object{{"name": "f", "typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/dev/null", "log_format": object{"json_format": format}}}},
	}
	bootstrap := object{
		"layered_runtime": object{"layers": []object{{"name": "a", "static_layer": object{"re2.max_program_size.error_level": 1_000_000}}}},
		"static_resources": object{"listeners": []object{{
			"name":          "a",
			"address":       object{"socket_address": object{"address": "127.0.0.1", "port_value": 0}},
			"filter_chains": []object{{"filters": []object{{"name": "m", "typed_config": manager}}}},
		}}},
	}
	data, err := json.Marshal(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "--log-level", "critical", "--config-path", file).CombinedOutput()
	return err == nil, string(out)
}

// good are log formats that we let through, one for each shape of operator; every plain operator is added by the test.
var good = []string{
	"no operator", "100%%", "%REQ(X-REQUEST-ID)%", "%REQ(:AUTHORITY)%", "%REQ(X-A?:PATH):10%", "%RESP(A):5%", "%TRAILER(A)%", "%PATH:5%", "%PATH%",
	"%REQUEST_HEADER(A?B)%", "%RESPONSE_HEADER(A)%", "%RESPONSE_TRAILER(A)%",
	"%START_TIME%", "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%", "%EMIT_TIME(%s)%", "%DOWNSTREAM_PEER_CERT_V_START(%b)%",
	"%GRPC_STATUS%", "%GRPC_STATUS(SNAKE_STRING)%", "%GRPC_STATUS(NUMBER)%", "%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%",
	"%DYNAMIC_METADATA(a:b:c):8%", "%CLUSTER_METADATA(a:b)%", "%UPSTREAM_METADATA(a)%", "%FILTER_STATE(a:PLAIN):7%", "%UPSTREAM_FILTER_STATE(a)%",
	"%ENVIRONMENT(HOME):9%", "%QUERY_PARAM(a)%", "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%", "%METADATA(ROUTE:a:b)%", "a %PROTOCOL% b %DURATION%\n",
}

// bad are log formats that Envoy refuses.
var bad = []string{
	"%", "%%%", "%NOPE%", "%PROTOCOL", "%protocol%", "%PROTOCOL(x)%", "%PROTOCOL:5%", "%REQ%", "%REQ()%", "%REQ(a b)%", "%REQ(A?B?C)%", "%REQ(A):x%",
	"%GRPC_STATUS(x)%", "%COMMON_DURATION(a)%", "%FILTER_STATE(a:NOPE)%", "%METADATA(NOPE:a)%", "%UPSTREAM_METADATA%", "50% off", "%START_TIME:3%",
}

func TestLogFormatsThatWeLetThroughAreGoodForEnvoy(t *testing.T) {
	formats := append([]string{}, good...)
	for name := range strings.FieldsSeq(validate.PlainOperators) {
		formats = append(formats, "%"+name+"%")
	}
	for _, f := range formats {
		if err := validate.LogFormat(f); err != nil {
			t.Errorf("%q: %v", f, err)
		}
	}
	for version, envoy := range envoys(t) {
		if ok, words := accepts(t, envoy, formats, nil); !ok {
			t.Errorf("Envoy %s: %s", version, words)
		}
	}
}

func TestLogFormatsThatEnvoyRefusesDoNotPass(t *testing.T) {
	for _, f := range bad {
		if validate.LogFormat(f) == nil {
			t.Errorf("%q passes", f)
		}
	}
	envoy := envoys(t)["1.40.0"]
	for _, f := range []string{"%NOPE%", "%PROTOCOL", "%PROTOCOL:5%", "%REQ%"} {
		if ok, _ := accepts(t, envoy, []string{f}, nil); ok {
			t.Errorf("Envoy takes %q after all", f)
		}
	}
}

func TestExpressionsThatWeLetThroughAreGoodForEnvoy(t *testing.T) {
	expressions := []string{
		"(?:(?:a{10}){10}){10}", `[]a\-\_]`, "(?U)a+(?-U)", "(?<n>a)", `\b\B\z$^`, "/pathss/green.*test", `^/a(b|c)*\d+[[:alpha:]]$`, `(?i)/A`, `(?P<name>a)(?:b)`, `\pL+`, `\p{Greek}{3}`, `[^/]{1,100}`, `.{900}`, `[\p{L}\p{N}]{12}`,
		`\Qa.b\E`, `(?s).*`, `[é-ÿ]+ł?`, `\x{FF}\377`, `\\x{2}`, `[\p{L}\p{N}]{16}`, `a{0,1000}`, strings.Repeat("[a-z]+|", 30) + "x",
	}
	for _, e := range expressions {
		if err := validate.Regex(e); err != nil {
			t.Errorf("%q: %v", e, err)
		}
	}
	for version, envoy := range envoys(t) {
		if ok, words := accepts(t, envoy, nil, expressions); !ok {
			t.Errorf("Envoy %s: %s", version, words)
		}
	}
}

func TestExpressionsThatEnvoyRefusesDoNotPass(t *testing.T) {
	envoy := envoys(t)["1.40.0"]
	for _, e := range []string{`(`, `a(?=b)`, `(a)\1`, `a{1001}`, `((a{100}){100}){100}`, `[z-a]`, `\p{Nope}`, `*a`, `a**`, `\x{1F600}`, `\777`, `\8`, `x{2}{3}`, `[a`} {
		err := validate.Regex(e)
		ok, _ := accepts(t, envoy, nil, []string{e})
		if err == nil || ok {
			t.Errorf("%q: we say %v, Envoy takes it: %t", e, err, ok)
		}
	}
	if err := validate.Regex(`(\pL{30}){30}`); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("an expression of 20 MB passes: %v", err)
	}
}

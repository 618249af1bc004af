package inject

import (
	"strings"
	"testing"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

func TestMistakesInAnnotationsAreDenied(t *testing.T) {
	cases := []struct {
		name, annotation, value, message string
	}{
		{"a secret without a path", "secretMounts", "tls", "malformed annotation appmesh.k8s.aws/secretMounts, expected format: secretName:mountPath"},
		{"a secret with two colons", "secretMounts", "tls:/a:ro", "malformed annotation appmesh.k8s.aws/secretMounts, expected format: secretName:mountPath"},
		{"a trailing comma", "secretMounts", "tls:/a,", "malformed annotation appmesh.k8s.aws/secretMounts, expected format: secretName:mountPath"},
		{"one path twice", "secretMounts", "a:/x, b:/x", "annotation appmesh.k8s.aws/secretMounts mounts /x twice"},
		{"a path of the proxy's own", "secretMounts", "a:/var/run/aftermesh/", "must not mount /var/run/aftermesh, which the proxy needs itself"},
		{"a secret where the pod has another volume of that name", "secretMounts", "config:/x", "names the secret config, but the pod has another volume of the name config"},
		{"a volume without a path", "volumeMounts", "config", "malformed annotation appmesh.k8s.aws/volumeMounts, expected format: volumeName:mountPath"},
		{"a variable with a comma", "sidecarEnv", "A=1,2", "malformed annotation appmesh.k8s.aws/sidecarEnv, expected format: KEY=VALUE"},
		{"a variable with two equals signs", "sidecarEnv", "A=b=c", "malformed annotation appmesh.k8s.aws/sidecarEnv, expected format: KEY=VALUE"},
		{"a reserved variable", "sidecarEnv", "AFTERMESH_POD_NAME=x", "variables that begin with AFTERMESH_ are reserved"},
		{"JSON that is no list", "sidecarEnvJson", `{"A":"1"}`, "malformed annotation appmesh.k8s.aws/sidecarEnvJson"},
		{"JSON with a number", "sidecarEnvJson", `[{"A":1}]`, "malformed annotation appmesh.k8s.aws/sidecarEnvJson"},
		{"a quantity that is none", "cpuRequest", "lots", `"lots" is not a quantity of cpu`},
		{"a port that is none", "ports", "80a", `malformed annotation appmesh.k8s.aws/ports, expected format: port[,port]: "80a" is not a port (1 to 65535)`},
		{"an ignored port that is none", "egressIgnoredPorts", "0", "malformed annotation appmesh.k8s.aws/egressIgnoredPorts"},
		{"an ignored address that is none", "egressIgnoredIPs", "db.example", `"db.example" is not an IP address or CIDR`},
		{"two configurations of X-Ray's daemon", "xrayAgentConfigMount", "a:/x,b:/y", "malformed annotation appmesh.k8s.aws/xrayAgentConfigMount"},
		{"no workers", "sidecarEnv", "ENVOY_CONCURRENCY=0", `the variable ENVOY_CONCURRENCY has the value "0", expected a whole number from 1 up`},
		{"an admin mode that is none", "sidecarEnv", "ENVOY_ADMIN_MODE=pipe", `the variable ENVOY_ADMIN_MODE has the value "pipe", expected tcp or uds`},
		{"a time that is none", "sidecarEnv", "ENVOY_INITIAL_FETCH_TIMEOUT=soon", "expected seconds or a duration"},
		{"an endpoint without a port", "sidecarEnv", "APPMESH_XDS_ENDPOINT=xds.example", "expected host:port"},
		{"a word that is none", "aftermesh.dev/native-sidecar", "yes", `annotation aftermesh.dev/native-sidecar has the value "yes", expected enabled or disabled`},
		{"a way of rewriting that is none", "aftermesh.dev/rewrite-probes", "on", `annotation aftermesh.dev/rewrite-probes has the value "on", expected auto, enabled or disabled`},
		{"holding that is none", "aftermesh.dev/hold-application", "1", `annotation aftermesh.dev/hold-application has the value "1", expected enabled or disabled`},
		{"an order that is none", "aftermesh.dev/init-first", "x", `annotation aftermesh.dev/init-first has the value "x", expected enabled or disabled`},
		{"an image that is none", "aftermesh.dev/sidecar-image", "envoy --privileged", `annotation aftermesh.dev/sidecar-image has the value "envoy --privileged", expected an image such as`},
		{"no workers by annotation", "aftermesh.dev/envoy-concurrency", "0", `annotation aftermesh.dev/envoy-concurrency has the value "0", expected a whole number from 1 up`},
		{"a sampling rate above one", "sidecarEnv", "XRAY_SAMPLING_RATE=1.5", `XRAY_SAMPLING_RATE "1.5" must be a number between 0 and 1`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := readScene(t, "testdata/annotations.yaml")
			s.config.Tracing.Kind, s.config.Tracing.Address, s.config.Tracing.Port = bootstrap.XRay, "127.0.0.1", 2000
			key := c.annotation
			if !strings.Contains(key, "/") {
				key = "appmesh.k8s.aws/" + key
			}
			s.pod.Annotations = map[string]string{key: c.value}
			answer := admit(t, s)
			if answer.Report.Outcome != Denied || !strings.Contains(answer.Report.Reason, c.message) {
				t.Errorf("%s: %q, want denied: %q", answer.Report.Outcome, answer.Report.Reason, c.message)
			}
			if answer.Pod != s.pod {
				t.Error("a denied pod was changed")
			}
		})
	}
}

func TestInitFirstNeedsTheNativeSidecar(t *testing.T) {
	s := readScene(t, "testdata/plain.yaml")
	s.pod.Annotations = map[string]string{annotationInitFirst: "enabled", annotationNative: "disabled"}
	if answer := admit(t, s); answer.Report.Outcome != Denied || !strings.Contains(answer.Report.Reason, "needs the native sidecar") {
		t.Errorf("%s: %s", answer.Report.Outcome, answer.Report.Reason)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := testConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestUnusableSettingsAreFound(t *testing.T) {
	cases := []struct {
		name    string
		change  func(*Config)
		message string
	}{
		{"no image", func(c *Config) { c.SidecarImage = "" }, "sidecar image and init image must be set"},
		{"no admin port", func(c *Config) { c.AdminPort = 0 }, "envoy-admin-access-port must not be 0"},
		{"a quantity that is none", func(c *Config) { c.Resources.CPULimit = "x" }, `"x" is not a quantity of cpu`},
		{"a host name for StatsD", func(c *Config) { c.Statsd.Enabled, c.Statsd.Address = true, "statsd.monitoring" }, "must be an IP address or ref:status.hostIP"},
		{"no root certificate", func(c *Config) { c.ControlPlane.CA = "" }, "root certificate of the control plane must be set"},
		{"tokens that Kubernetes refuses", func(c *Config) { c.ControlPlane.TokenExpiration = 1 }, "below Kubernetes' minimum of 10m0s"},
		{"an unknown family", func(c *Config) { c.IPFamilies = "64" }, `IP families "64" must be 4, 6 or 46`},
		{"an ignored address that is none", func(c *Config) { c.IgnoredIPs = "x" }, `ignored-ips: "x" is not an IP address or CIDR`},
		{"tracing without an address", func(c *Config) { c.Tracing.Kind = bootstrap.Jaeger }, "jaeger tracing needs an address and a port"},
		{"a role that is no ARN", func(c *Config) {
			c.Tracing.Kind, c.Tracing.Address, c.Tracing.Port = bootstrap.XRay, "127.0.0.1", 2000
			c.Tracing.XRay.RoleARN = "admin"
		}, `xray-config-roleArn "admin" is not an ARN`},
	}
	for _, c := range cases {
		config := testConfig()
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want %q", c.name, err, c.message)
		}
	}
}

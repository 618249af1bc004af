package injection

import (
	"slices"
	"strings"
)

// Sets of flags under which cases run. They are few because the operator of a cluster restarts for each; a case about one flag of a set
// must fail without it, which TestEveryFlagHasAnEffect of package test/webhook sees to.
var (
	// tuned changes every number, image and path, and traces to Jaeger.
	tuned = []string{
		"--sidecar-image-repository=example/envoy", "--sidecar-image-tag=v9", "--init-image=example/aftermesh:v9",
		"--sidecar-cpu-requests=50m", "--sidecar-memory-requests=64Mi", "--sidecar-cpu-limits=2500m", "--sidecar-memory-limits=256Mi",
		"--prestop-delay=5", "--poststart-timeout=60", "--readiness-probe-initial-delay=3", "--readiness-probe-period=7",
		"--sidecar-log-level=debug", "--envoy-admin-access-port=9902", "--envoy-admin-access-log-file=/tmp/admin.log", "--envoy-admin-access-enable-ipv6",
		"--ignored-ips=10.0.0.0/8", "--enable-iam-for-service-accounts=false", "--enable-ecr-secret", "--enable-sds", "--sds-uds-path=/run/agent.sock",
		"--aws-region=eu-west-1", "--aws-account-id=123456789012", "--xds-port=15110", "--cluster-domain=mesh.example", "--proxy-token-expiration=30m",
		"--preview", "--dual-stack-endpoint", "--fips-endpoint",
		"--enable-stats-tags", "--enable-statsd", "--statsd-address=10.1.2.3", "--statsd-port=8126",
		"--enable-jaeger-tracing", "--jaeger-address=jaeger.tracing", "--jaeger-port=9412",
	}
	// traced traces to X-Ray with everything that can be said about its daemon, and uses sockets of the node.
	traced = []string{
		"--enable-xray-tracing", "--xray-daemon-port=2001", "--xray-sampling-rate=0.5", "--xray-log-level=debug",
		"--xray-config-roleArn=arn:aws:iam::123456789012:role/tracer", "--xray-image=example/xray:v9", "--aws-region=eu-west-1",
		"--enable-sds", "--enable-statsd", "--statsd-socket-path=/run/statsd.sock", "--enable-ecr-secret",
	}
	// nodeLocal uses agents on the pod's node, by Datadog's tracer, and leaves redirection to the CNI plugin.
	nodeLocal = []string{
		"--cni", "--envoy-admin-open", "--enable-datadog-tracing", "--datadog-address=ref:status.hostIP", "--datadog-port=8127",
		"--enable-statsd", "--statsd-address=ref:status.hostIP",
	}
	// ordinary makes Envoy an ordinary container, and traces to Jaeger on the pod's node.
	ordinary = []string{"--native-sidecar=false", "--enable-jaeger-tracing", "--jaeger-address=ref:status.hostIP"}
	// waiting makes applications wait for such a container, and traces to X-Ray with all defaults.
	waiting = []string{"--native-sidecar=false", "--wait-until-proxy-ready", "--enable-xray-tracing"}
)

// Without returns the case without the flag that it is about; false if it sets no such flag.
func (c Case) Without() (Case, bool) {
	rest := slices.DeleteFunc(slices.Clone(c.Flags), func(flag string) bool { return sets(flag, c.Key) })
	without := c
	without.Flags = rest
	return without, len(rest) < len(c.Flags)
}

// sets says whether a flag as written, "--name" or "--name=value", is the one of that name.
func sets(flag, name string) bool {
	written, _, _ := strings.Cut(flag, "=")
	return written == name
}

package injection

// Keys are all annotations and labels of pods and namespaces that injection reads or writes, and those of App Mesh that it does not.
var Keys = []string{
	// Labels.
	"eks.amazonaws.com/fargate-profile",
	"kubernetes.io/metadata.name",
	"rollouts-pod-template-hash",
	// App Mesh's annotations; the first is a label of namespaces too.
	"appmesh.k8s.aws/sidecarInjectorWebhook",
	"appmesh.k8s.aws/ports",
	"appmesh.k8s.aws/egressIgnoredPorts",
	"appmesh.k8s.aws/egressIgnoredIPs",
	"appmesh.k8s.aws/ipv6",
	"appmesh.k8s.aws/appmeshCNI",
	"appmesh.k8s.aws/proxyEgressPort",
	"appmesh.k8s.aws/proxyIngressPort",
	"appmesh.k8s.aws/ignoredUID",
	"appmesh.k8s.aws/ignoredGID",
	"appmesh.k8s.aws/cpuRequest",
	"appmesh.k8s.aws/memoryRequest",
	"appmesh.k8s.aws/cpuLimit",
	"appmesh.k8s.aws/memoryLimit",
	"appmesh.k8s.aws/secretMounts",
	"appmesh.k8s.aws/volumeMounts",
	"appmesh.k8s.aws/sidecarEnv",
	"appmesh.k8s.aws/sidecarEnvJson",
	"appmesh.k8s.aws/sds",
	"appmesh.k8s.aws/preview",
	"appmesh.k8s.aws/xrayAgentConfigMount",
	"appmesh.k8s.aws/virtualGatewaySkipImageOverride",
	"appmesh.k8s.aws/sidecarStatus",
	"appmesh.k8s.aws/mesh",
	"appmesh.k8s.aws/virtualNode",
	// Ours.
	"aftermesh.dev/native-sidecar",
	"aftermesh.dev/init-first",
	"aftermesh.dev/hold-application",
	"aftermesh.dev/rewrite-probes",
	"aftermesh.dev/sidecar-image",
	"aftermesh.dev/envoy-concurrency",
	"aftermesh.dev/node",
	"aftermesh.dev/profile",
	"aftermesh.dev/xds-credential",
	"aftermesh.dev/bootstrap",
	// Prometheus'.
	"prometheus.io/scrape",
	"prometheus.io/port",
	"prometheus.io/path",
	"prometheus.io/scheme",
}

// Flags are those of the operator that shape pods.
var Flags = []string{
	// Images and resources.
	"--sidecar-image-repository", "--sidecar-image-tag", "--init-image",
	"--sidecar-cpu-requests", "--sidecar-memory-requests", "--sidecar-cpu-limits", "--sidecar-memory-limits",
	// The proxy's life.
	"--native-sidecar", "--wait-until-proxy-ready", "--prestop-delay", "--poststart-timeout",
	"--readiness-probe-initial-delay", "--readiness-probe-period",
	// Logs and the admin port.
	"--sidecar-log-level", "--envoy-admin-access-port", "--envoy-admin-access-log-file", "--envoy-admin-access-enable-ipv6", "--envoy-admin-open",
	// Redirection and what belongs to the whole pod.
	"--cni", "--ignored-ips", "--enable-iam-for-service-accounts", "--enable-ecr-secret", "--enable-sds", "--sds-uds-path",
	// Identity and the control plane.
	"--aws-region", "--aws-account-id", "--xds-port", "--cluster-domain", "--proxy-token-expiration",
	// Variables only.
	"--preview", "--dual-stack-endpoint", "--fips-endpoint",
	// Statistics and traces.
	"--enable-stats-tags", "--enable-statsd", "--statsd-address", "--statsd-port", "--statsd-socket-path",
	"--enable-jaeger-tracing", "--jaeger-address", "--jaeger-port",
	"--enable-datadog-tracing", "--datadog-address", "--datadog-port",
	"--enable-xray-tracing", "--xray-daemon-port", "--xray-sampling-rate", "--xray-log-level", "--xray-config-roleArn", "--xray-image",
}

// processFlags are all others: they are about the operator's own process, or about what proxies get over xDS.
var processFlags = []string{
	"--log-level", "--metrics-addr", "--health-probe-port", "--enable-leader-election", "--sync-period", "--tls-min-version", "--tls-cipher-suite",
	"--peer-port", "--dns-port", "--shutdown-delay-duration", "--webhook-port", "--admin-port", "--enable-backend-groups", "--egress-exempt",
	// Accepted without effect.
	"--cluster-name", "--aws-api-throttle", "--page-limit", "--cloudmap-dns-ttl", "--poststart-interval", "--use-aws-fips-endpoint",
	"--use-aws-dual-stack-endpoint", "--enable-custom-health-check", "--envoy-aws-access-key-id", "--envoy-aws-secret-access-key",
	"--envoy-aws-session-token",
}

// Parts are what injection heeds besides, in pods, nodes, gateways and meshes.
var Parts = []string{
	"spec.podSelector", "spec.listeners", "spec.awsName", "spec.meshOwner", "spec.egressFilter", "spec.serviceDiscovery",
	"container envoy", "container proxyinit", "container xray-daemon", "proxy of another mesh",
	"securityContext.fsGroup", "securityContext.runAsUser", "imagePullSecrets", "hostNetwork", "os", "dnsPolicy", "restartPolicy",
	"terminationGracePeriodSeconds", "volumes", "variables", "probes of a gateway",
}

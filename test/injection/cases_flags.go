package injection

// tunedCases are about flags with a number, an image or a path.
var tunedCases = []Case{
	about("--sidecar-image-repository", "another image", short{"envoy.image": "example/envoy:v9"}).on(tuned),
	about("--sidecar-image-tag", "another tag, on a gateway", short{"envoy.image": "example/envoy:v9"}).on(tuned).ofGateway(),
	about("--init-image", "another image", short{"proxyinit.image": "example/aftermesh:v9"}).on(tuned),
	about("--init-image", "another image of what merges the bootstrap", short{"envoy-bootstrap.image": "example/aftermesh:v9"}).on(tuned).
		with(short{"sidecarEnv": "ENVOY_STATS_CONFIG_FILE=/s"}),
	about("--sidecar-cpu-requests", "of all injected containers", short{"envoy.request.cpu": "50m", "proxyinit.request.cpu": "50m", "app.request.cpu": ""}).on(tuned),
	about("--sidecar-memory-requests", "of all injected containers", short{"envoy.request.memory": "64Mi", "proxyinit.request.memory": "64Mi"}).on(tuned),
	about("--sidecar-cpu-limits", "of all injected containers, and the workers", short{"envoy.limit.cpu": "2500m", "proxyinit.limit.cpu": "2500m", "envoy.--concurrency": "3"}).on(tuned),
	about("--sidecar-memory-limits", "of all injected containers", short{"envoy.limit.memory": "256Mi", "proxyinit.limit.memory": "256Mi"}).on(tuned),
	about("--sidecar-memory-limits", "a gateway keeps what it has", short{"envoy.limit.memory": "", "envoy.image": "example/envoy:v9"}).on(tuned).ofGateway(),
	of("cpuLimit", "beats the flag", "500m", short{"envoy.limit.cpu": "500m", "proxyinit.limit.cpu": "2500m", "envoy.--concurrency": "1"}).on(tuned),
	about("--prestop-delay", "seconds that Envoy serves on", short{"envoy.preStop": "sleep 5"}).on(tuned),
	about("--prestop-delay", "seconds that a gateway serves on", short{"envoy.preStop": "sleep 5"}).on(tuned).ofGateway(),
	about("--poststart-timeout", "seconds that the application waits", short{"proxyinit.--wait-timeout": "1m0s"}).on(tuned),
	about("--poststart-timeout", "seconds that the application waits, with the plugin", short{"envoy.startup.failures": "60", "envoy.startup.period": "1"}).on(tuned).
		with(short{"appmeshCNI": "enabled"}),
	about("--readiness-probe-initial-delay", "seconds", short{"envoy.readiness.delay": "3"}).on(tuned),
	about("--readiness-probe-period", "seconds", short{"envoy.readiness.period": "7"}).on(tuned),
	about("--sidecar-log-level", "argument and variable", short{"envoy.--log-level": "debug", "envoy.env.ENVOY_LOG_LEVEL": "debug"}).on(tuned),
	about("--envoy-admin-access-port", "everywhere", short{
		"envoy.port.stats": "9902/TCP", "envoy.readiness": "9902/ready", "envoy.env.ENVOY_ADMIN_ACCESS_PORT": "9902",
		"proxyinit.--wait-for": "http://localhost:9902/ready",
	}).on(tuned),
	about("--envoy-admin-access-log-file", "a variable", short{"envoy.env.ENVOY_ADMIN_ACCESS_LOG_FILE": "/tmp/admin.log"}).on(tuned),
	about("--envoy-admin-access-enable-ipv6", "a variable", short{"envoy.env.ENVOY_ADMIN_ACCESS_ENABLE_IPV6": "true"}).on(tuned),
	about("--ignored-ips", "a list", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "10.0.0.0/8,{api}"}).on(tuned),
	of("egressIgnoredIPs", "beats the flag", "10.1.0.0/16", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "10.1.0.0/16,{api}"}).on(tuned).warns("replaces the default 10.0.0.0/8"),
	about("--enable-iam-for-service-accounts", "false: no group", short{"fsGroup": "", "status.node": front}).on(tuned),
	about("--enable-ecr-secret", "a pull secret", short{"pullSecrets": "appmesh-ecr-secret"}).on(tuned),
	about("--enable-sds", "a socket", short{"volume.appmesh-sds-socket-volume": "host /run/agent.sock"}).on(tuned),
	about("--sds-uds-path", "another socket", short{
		"volume.appmesh-sds-socket-volume": "host /run/agent.sock", "envoy.mount./run/agent.sock": "appmesh-sds-socket-volume",
		"envoy.env.APPMESH_SDS_SOCKET_PATH": "/run/agent.sock", "bootstrap.cluster.static_cluster_sds_unix_socket": "/run/agent.sock",
	}).on(tuned),
	about("--aws-region", "a variable", short{"envoy.env.AWS_REGION": "eu-west-1"}).on(tuned),
	about("--aws-account-id", "the owner of a mesh of the own account is not named", short{"envoy.env.APPMESH_RESOURCE_ARN": "mesh/injection-shared/virtualNode/front_injection-shared"}).
		on(tuned).in(namespaceShared),
	about("--xds-port", "of the control plane", short{"bootstrap.cluster.aftermesh-xds": "aftermesh.aftermesh-system.svc.mesh.example.:15110"}).on(tuned),
	about("--cluster-domain", "of the control plane", short{"bootstrap.cluster.aftermesh-xds": "aftermesh.aftermesh-system.svc.mesh.example.:15110"}).on(tuned),
	about("--proxy-token-expiration", "of the token", short{"volume.aftermesh-xds": "token for aftermesh, 1800 s"}).on(tuned),
	about("--preview", "a variable", short{"envoy.env.APPMESH_PREVIEW": "1"}).on(tuned),
	about("--dual-stack-endpoint", "a variable", short{"envoy.env.APPMESH_DUALSTACK_ENDPOINT": "1"}).on(tuned),
	about("--fips-endpoint", "a variable", short{"envoy.env.APPMESH_FIPS_ENDPOINT": "1"}).on(tuned),
	about("--cni", "the plugin redirects", short{"init": "envoy,first", "annotation.proxyEgressPort": "15001", "envoy.startup": "9901/ready"}).on(nodeLocal),
	of("appmeshCNI", "disabled beats the flag", "disabled", injected).on(nodeLocal),
	about("--envoy-admin-open", "the admin interface is on the port itself", short{"bootstrap.admin": "0.0.0.0:9901", "bootstrap.cluster.aftermesh-admin": ""}).on(nodeLocal),
	about("--envoy-admin-open", "absent: on a pipe", short{"bootstrap.admin": "/var/run/aftermesh/admin.sock"}),
}

// telemetryCases are about statistics and traces.
var telemetryCases = []Case{
	about("--enable-stats-tags", "mesh and node", short{
		"envoy.env.ENABLE_ENVOY_STATS_TAGS": "1", "bootstrap.tag.appmesh.mesh": "injection",
		"bootstrap.tag.appmesh.virtual_node": "front_injection",
	}).on(tuned),
	about("--enable-stats-tags", "mesh and gateway", short{"bootstrap.tag.appmesh.mesh": "injection", "bootstrap.tag.appmesh.virtual_gateway": "ingress_injection"}).on(tuned).ofGateway(),
	about("--enable-statsd", "a sink", short{"envoy.env.ENABLE_ENVOY_DOG_STATSD": "1", "bootstrap.statsd": "10.1.2.3:8126"}).on(tuned),
	about("--statsd-address", "an address", short{"envoy.env.STATSD_ADDRESS": "10.1.2.3", "bootstrap.statsd": "10.1.2.3:8126"}).on(tuned),
	about("--statsd-address", "the pod's node", short{"envoy.env.STATSD_ADDRESS": "field status.hostIP", "bootstrap.statsd": "$(AFTERMESH_HOST_IP):8125"}).on(nodeLocal),
	about("--statsd-port", "a port", short{"envoy.env.STATSD_PORT": "8126", "bootstrap.statsd": "10.1.2.3:8126"}).on(tuned),
	about("--statsd-socket-path", "a socket beats the address", short{"envoy.env.STATSD_SOCKET_PATH": "/run/statsd.sock", "bootstrap.statsd": "/run/statsd.sock"}).on(traced),
	about("--enable-jaeger-tracing", "a tracer", short{"envoy.env.ENABLE_ENVOY_JAEGER_TRACING": "1", "bootstrap.tracer": "envoy.tracers.zipkin"}).on(tuned),
	about("--enable-jaeger-tracing", "a tracer of a gateway", short{"envoy.env.ENABLE_ENVOY_JAEGER_TRACING": "1", "bootstrap.tracer": "envoy.tracers.zipkin"}).on(tuned).ofGateway(),
	about("--jaeger-address", "a name", short{"envoy.env.JAEGER_TRACER_ADDRESS": "jaeger.tracing", "bootstrap.cluster.jaeger": "jaeger.tracing:9412"}).on(tuned),
	about("--jaeger-port", "a port", short{"envoy.env.JAEGER_TRACER_PORT": "9412", "bootstrap.cluster.jaeger": "jaeger.tracing:9412"}).on(tuned),
	about("--enable-datadog-tracing", "a tracer", short{
		"envoy.env.ENABLE_ENVOY_DATADOG_TRACING": "1", "bootstrap.tracer": "envoy.tracers.datadog",
		"bootstrap.tracer.service": "envoy-injection/front_injection",
	}).on(nodeLocal),
	about("--datadog-address", "the pod's node", short{
		"envoy.env.DATADOG_TRACER_ADDRESS": "field status.hostIP",
		"bootstrap.cluster.datadog_agent":  "$(AFTERMESH_HOST_IP):8127",
	}).on(nodeLocal),
	about("--datadog-port", "a port", short{"envoy.env.DATADOG_TRACER_PORT": "8127", "bootstrap.cluster.datadog_agent": "$(AFTERMESH_HOST_IP):8127"}).on(nodeLocal),
	about("--enable-xray-tracing", "a tracer and its daemon", short{
		"envoy.env.ENABLE_ENVOY_XRAY_TRACING": "1", "bootstrap.tracer": "envoy.tracers.xray",
		"bootstrap.tracer.service": "injection/front_injection", "init": "first,envoy,xray-daemon,proxyinit",
	}).on(traced),
	about("--xray-daemon-port", "a port", short{"envoy.env.XRAY_DAEMON_PORT": "2001", "xray-daemon.port.xray": "2001/UDP", "bootstrap.tracer.daemon": "127.0.0.1:2001"}).on(traced),
	about("--xray-sampling-rate", "a share", short{
		"envoy.env.XRAY_SAMPLING_RATE": "0.5",
		"bootstrap.tracer.rules":       `{"default":{"fixed_target":1,"rate":0.5},"rules":[],"version":2}`,
	}).on(traced),
	about("--xray-log-level", "a level", short{"xray-daemon.--log-level": "debug"}).on(traced),
	about("--xray-config-roleArn", "a role", short{"xray-daemon.--role-arn": "arn:aws:iam::123456789012:role/tracer"}).on(traced),
	about("--xray-image", "an image", short{"xray-daemon.image": "example/xray:v9"}).on(traced),
	about("--aws-region", "a variable of X-Ray's daemon", short{"xray-daemon.env.AWS_REGION": "eu-west-1"}).on(traced),
}

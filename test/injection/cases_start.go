package injection

// startCases are about how the proxy starts beside the application. What concerns ordinary containers is in ordinaryCases.
var startCases = []Case{
	about("aftermesh.dev/native-sidecar", "absent: the flag's", short{"envoy.restart": "Always"}),
	of("aftermesh.dev/native-sidecar", "disabled", "disabled", short{"init": "first,proxyinit", "containers": "app,envoy", "envoy.restart": "", "envoy.startup": "", "proxyinit.--wait-for": ""}),
	of("aftermesh.dev/native-sidecar", "disabled, with X-Ray's daemon", "disabled", short{"init": "first,proxyinit", "containers": "app,envoy,xray-daemon"}).on(traced),
	of("aftermesh.dev/native-sidecar", "another word", "yes", nil).denies(`annotation aftermesh.dev/native-sidecar has the value "yes", expected enabled or disabled`),
	about("aftermesh.dev/init-first", "absent", short{"init": "first,envoy,xray-daemon,proxyinit"}).on(traced),
	of("aftermesh.dev/init-first", "enabled", "enabled", short{"init": "envoy,proxyinit,first"}),
	of("aftermesh.dev/init-first", "enabled with everything else", "enabled", short{"init": "envoy-bootstrap,envoy,xray-daemon,proxyinit,first"}).on(traced).
		with(short{"sidecarEnv": "ENVOY_STATS_CONFIG_FILE=/s"}),
	of("aftermesh.dev/init-first", "disabled", "disabled", injected),
	of("aftermesh.dev/init-first", "disabled, with the plugin", "disabled", short{"init": "first,envoy"}).with(short{"appmeshCNI": "enabled"}).
		warns("redirects the traffic of init containers first before the proxy runs: they reach nothing but ports and addresses that are left alone; remove annotation aftermesh.dev/init-first"),
	of("aftermesh.dev/init-first", "without the native sidecar", "enabled", nil).with(short{"aftermesh.dev/native-sidecar": "disabled"}).
		denies("annotation aftermesh.dev/init-first needs the native sidecar"),
	of("aftermesh.dev/init-first", "another word", "true", nil).denies(`annotation aftermesh.dev/init-first has the value "true", expected enabled or disabled`),
	about("aftermesh.dev/hold-application", "absent", short{"envoy.startup": "", "proxyinit.--wait-for": "http://localhost:9901/ready", "proxyinit.--wait-timeout": "3m0s"}),
	about("aftermesh.dev/hold-application", "absent, with the plugin", short{"envoy.startup": "9901/ready", "envoy.startup.failures": "180"}).with(short{"appmeshCNI": "enabled"}),
	of("aftermesh.dev/hold-application", "enabled, with the plugin", "enabled", short{"envoy.startup": "9901/ready"}).with(short{"appmeshCNI": "enabled"}),
	of("aftermesh.dev/hold-application", "disabled", "disabled", short{"envoy.startup": "", "proxyinit.--wait-for": ""}),
	of("aftermesh.dev/hold-application", "disabled, with the plugin", "disabled", short{"envoy.startup": ""}).with(short{"appmeshCNI": "enabled"}),
	of("aftermesh.dev/hold-application", "enabled for an ordinary container", "enabled", short{
		"containers": "envoy,app", "init": "first,envoy-bootstrap,proxyinit",
		"envoy-bootstrap.--install": "/var/run/aftermesh/aftermesh",
		"envoy.postStart":           "/var/run/aftermesh/aftermesh wait-ready --url http://localhost:9901/ready --timeout 3m0s",
	}).with(short{"aftermesh.dev/native-sidecar": "disabled"}),
	of("aftermesh.dev/hold-application", "another word", "no", nil).denies(`annotation aftermesh.dev/hold-application has the value "no", expected enabled or disabled`),
	about("aftermesh.dev/envoy-concurrency", "absent", short{"envoy.--concurrency": "2"}),
	of("aftermesh.dev/envoy-concurrency", "a number beats limit and variable", "4", short{"envoy.--concurrency": "4"}).with(short{"cpuLimit": "1", "sidecarEnv": "ENVOY_CONCURRENCY=7"}),
	of("aftermesh.dev/envoy-concurrency", "on a gateway", "4", short{"envoy.--concurrency": "4"}).ofGateway(),
	of("aftermesh.dev/envoy-concurrency", "no number", "many", nil).denies(`annotation aftermesh.dev/envoy-concurrency has the value "many", expected a whole number from 1 up`),
	of("aftermesh.dev/envoy-concurrency", "none at all", "0", nil).denies(`annotation aftermesh.dev/envoy-concurrency has the value "0", expected a whole number from 1 up`),
}

// ordinaryCases are about a proxy that is an ordinary container by the operator's flags.
var ordinaryCases = []Case{
	about("--native-sidecar", "false: Envoy is the last container, behind the application", short{
		"init": "first,proxyinit", "containers": "app,envoy", "envoy.restart": "",
		"envoy.preStop": "sleep 20",
	}).on(ordinary),
	of("aftermesh.dev/native-sidecar", "enabled beats the flag", "enabled", injected).on(ordinary),
	about("aftermesh.dev/hold-application", "absent, for an ordinary container", short{"envoy.postStart": "", "proxyinit.--wait-for": ""}).on(ordinary),
	about("--wait-until-proxy-ready", "Envoy is the first container and has a hook that waits", short{
		"init": "first,envoy-bootstrap,proxyinit", "containers": "envoy,app,xray-daemon",
		"envoy.postStart": "/var/run/aftermesh/aftermesh wait-ready --url http://localhost:9901/ready --timeout 3m0s",
	}).on(waiting),
	of("aftermesh.dev/hold-application", "disabled beats the flag", "disabled", short{"containers": "app,envoy,xray-daemon", "envoy.postStart": ""}).on(waiting),
	of("appmeshCNI", "enabled, for an ordinary container", "enabled", short{"init": "first", "containers": "app,envoy"}).on(ordinary).
		warns("let the proxy be a native sidecar"),
	about("--enable-xray-tracing", "by itself: X-Ray's image, port and rate", short{
		"xray-daemon.image": "amazon/aws-xray-daemon", "xray-daemon.port.xray": "2000/UDP",
		"envoy.env.XRAY_DAEMON_PORT": "2000", "envoy.env.XRAY_SAMPLING_RATE": "0.05", "bootstrap.tracer.rules": "", "xray-daemon.--log-level": "", "xray-daemon.--role-arn": "",
		"xray-daemon.env.AWS_REGION": "",
	}).on(waiting),
	about("--enable-jaeger-tracing", "by itself: Jaeger's port", short{"envoy.env.JAEGER_TRACER_PORT": "9411"}).on(ordinary),
	about("--jaeger-address", "the pod's node", short{"envoy.env.JAEGER_TRACER_ADDRESS": "field status.hostIP", "bootstrap.cluster.jaeger": "$(AFTERMESH_HOST_IP):9411"}).on(ordinary),
}

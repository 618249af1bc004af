package webhook

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// podKeys are all annotations and labels of pods and namespaces that injection reads or writes, and those of App Mesh that it
// does not.
var podKeys = []string{
	// Labels.
	"eks.amazonaws.com/fargate-profile",
	"kubernetes.io/metadata.name",
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

// Parts of the cases.
var (
	sds  = func(c *inject.Config) { c.SDS = true }
	xray = func(c *inject.Config) {
		c.Tracing.Kind, c.Tracing.Address, c.Tracing.Port = bootstrap.XRay, "127.0.0.1", 2000
	}
	volumes = func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	}
	probes = func(p *corev1.Pod) {
		get := func(port int32) *corev1.Probe {
			return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/up", Port: intstr.FromInt32(port)}}}
		}
		p.Spec.Containers[0].LivenessProbe, p.Spec.Containers[0].ReadinessProbe = get(9090), get(8080)
	}
	ownCommand = func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/start"} }
	injected   = short{"init": "first,envoy,proxyinit", "containers": "app"}
	outside    = short{"init": "first", "containers": "app"}
)

const mode = "appmesh.k8s.aws/sidecarInjectorWebhook"

// of makes a row about one annotation and its value.
func of(name, about, value string, want short) podCase {
	key := name
	for full := range full(short{name: ""}) {
		key = full
	}
	return podCase{key: key, about: about, annotations: short{name: value}, want: want}
}

func (c podCase) with(annotations short) podCase {
	all := short{}
	for _, part := range []short{c.annotations, annotations} {
		for key, value := range part {
			all[key] = value
		}
	}
	c.annotations = all
	return c
}

func (c podCase) on(config func(*inject.Config)) podCase { c.config = config; return c }
func (c podCase) having(pod func(*corev1.Pod)) podCase   { c.pod = pod; return c }
func (c podCase) in(namespace string) podCase            { c.namespace = namespace; return c }
func (c podCase) ofGateway() podCase                     { c.gateway = true; return c }
func (c podCase) warns(text string) podCase              { c.warned = text; return c }
func (c podCase) denies(text string) podCase             { c.denied = text; return c }

var podCases = []podCase{
	// Whether a pod is injected.
	{key: mode, about: "enabled namespace", want: injected},
	{key: mode, about: "unset value of the namespace: a label without a value is not sent", namespace: "open", want: outside},
	{key: mode, about: "another value of the namespace is not sent", namespace: "odd", want: outside},
	{key: mode, about: "disabled namespace", namespace: "closed", want: outside},
	{key: mode, about: "namespace without the label", namespace: "bare", want: outside},
	of("sidecarInjectorWebhook", "alone in a namespace without the label", "enabled", outside).in("bare"),
	of("sidecarInjectorWebhook", "enabled in a disabled namespace, in any case", "Enabled", injected).in("closed"),
	of("sidecarInjectorWebhook", "disabled in an enabled namespace, in any case", "DISABLED", outside),
	of("sidecarInjectorWebhook", "another value counts as not set", "yes", injected).warns(`has the value "yes", which is neither enabled nor disabled`),
	of("sidecarInjectorWebhook", "another value where nothing selects the pod", "yes", outside).having(func(p *corev1.Pod) { p.Labels["app"] = "other" }).
		warns("runs outside the mesh"),
	of("sidecarInjectorWebhook", "enabled where nothing selects the pod", "enabled", nil).having(func(p *corev1.Pod) { p.Labels["app"] = "other" }).
		denies("sidecarInject enabled but no matching VirtualNode or VirtualGateway found"),
	of("sidecarInjectorWebhook", "enabled on the host's network", "enabled", nil).having(func(p *corev1.Pod) { p.Spec.HostNetwork = true }).
		denies("sidecarInject enabled but the pod uses the host network"),
	{key: "kubernetes.io/metadata.name", about: "the operator's own namespace is not sent", namespace: "aftermesh-system", want: outside},
	// What is redirected.
	{key: "appmesh.k8s.aws/ports", about: "absent: the listeners", want: short{"proxyinit.env.APPMESH_APP_PORTS": "8080,9090"}},
	of("ports", "a list", "8080, 7000", short{"proxyinit.env.APPMESH_APP_PORTS": "8080, 7000"}),
	of("ports", "the empty text turns inbound interception off", "", short{"proxyinit.env.APPMESH_APP_PORTS": "", "init": "first,envoy,proxyinit"}),
	of("ports", "a port of the proxy", "8080,15000", nil).warns("lists 15000, a port of the proxy itself"),
	of("ports", "no port", "80a", nil).denies("malformed annotation appmesh.k8s.aws/ports, expected format: port[,port]"),
	{key: "appmesh.k8s.aws/egressIgnoredPorts", about: "absent", want: short{"proxyinit.env.APPMESH_EGRESS_IGNORED_PORTS": "22"}},
	of("egressIgnoredPorts", "a list", "3306,27017", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_PORTS": "3306,27017"}),
	of("egressIgnoredPorts", "no port", "0", nil).denies("malformed annotation appmesh.k8s.aws/egressIgnoredPorts"),
	{key: "appmesh.k8s.aws/egressIgnoredIPs", about: "absent: the flag's", want: short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "169.254.169.254"}},
	of("egressIgnoredIPs", "a list", "10.0.0.0/8,fd00::/8", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "10.0.0.0/8,fd00::/8"}),
	of("egressIgnoredIPs", "a name", "db.example", nil).denies("malformed annotation appmesh.k8s.aws/egressIgnoredIPs"),
	{key: "appmesh.k8s.aws/ipv6", about: "absent", want: short{"proxyinit.env.APPMESH_ENABLE_IPV6": "1"}},
	of("ipv6", "disabled", "disabled", short{"proxyinit.env.APPMESH_ENABLE_IPV6": "0"}),
	of("ipv6", "another value has no effect", "Disabled", short{"proxyinit.env.APPMESH_ENABLE_IPV6": "1"}),
	// Redirection by the CNI plugin.
	of("appmeshCNI", "enabled, in any case", "Enabled", short{"init": "envoy,first", "annotation.ports": "8080,9090", "annotation.egressIgnoredPorts": "22",
		"annotation.egressIgnoredIPs": "169.254.169.254", "annotation.sidecarInjectorWebhook": "enabled"}),
	of("appmeshCNI", "another value on Fargate", "no", injected).having(func(p *corev1.Pod) { p.Labels["eks.amazonaws.com/fargate-profile"] = "fp" }),
	{key: "eks.amazonaws.com/fargate-profile", about: "a profile", labels: short{"eks.amazonaws.com/fargate-profile": "fp"},
		want: short{"init": "envoy,first", "annotation.proxyEgressPort": "15001"}},
	{key: "eks.amazonaws.com/fargate-profile", about: "an empty one", labels: short{"eks.amazonaws.com/fargate-profile": ""}, want: injected},
	of("proxyEgressPort", "overwritten", "1", short{"annotation.proxyEgressPort": "15001"}).with(short{"appmeshCNI": "enabled"}),
	of("proxyEgressPort", "without the plugin it stays and has no effect", "1", short{"annotation.proxyEgressPort": "1", "proxyinit.env.APPMESH_ENVOY_EGRESS_PORT": "15001"}),
	of("proxyIngressPort", "overwritten", "1", short{"annotation.proxyIngressPort": "15000"}).with(short{"appmeshCNI": "enabled"}),
	of("proxyIngressPort", "without the plugin it stays and has no effect", "1", short{"annotation.proxyIngressPort": "1", "proxyinit.env.APPMESH_ENVOY_INGRESS_PORT": "15000"}),
	of("ignoredUID", "overwritten", "1", short{"annotation.ignoredUID": "1337"}).with(short{"appmeshCNI": "enabled"}),
	of("ignoredUID", "without the plugin it stays and has no effect", "1", short{"annotation.ignoredUID": "1", "proxyinit.env.APPMESH_IGNORE_UID": "1337"}),
	of("ignoredGID", "the webhook leaves it to the plugin", "2000", short{"annotation.ignoredGID": "2000", "proxyinit.env.APPMESH_IGNORE_GID": ""}).with(short{"appmeshCNI": "enabled"}),
	// Resources.
	{key: "appmesh.k8s.aws/cpuRequest", about: "absent: the flag's", want: short{"envoy.request.cpu": "10m"}},
	of("cpuRequest", "a quantity, not for proxyinit", "100m", short{"envoy.request.cpu": "100m", "proxyinit.request.cpu": "10m"}),
	of("cpuRequest", "X-Ray's daemon too", "100m", short{"xray-daemon.request.cpu": "100m"}).on(xray),
	of("cpuRequest", "no quantity", "lots", nil).denies(`"lots" is not a quantity of cpu`),
	of("memoryRequest", "a quantity", "64Mi", short{"envoy.request.memory": "64Mi", "proxyinit.request.memory": "32Mi"}),
	of("memoryRequest", "the empty text is the flag's", "", short{"envoy.request.memory": "32Mi"}),
	of("memoryRequest", "no quantity", "1x", nil).denies(`"1x" is not a quantity of memory`),
	of("cpuLimit", "a quantity, which counts the workers too", "2500m", short{"envoy.limit.cpu": "2500m", "envoy.--concurrency": "3", "proxyinit.limit.cpu": ""}),
	of("cpuLimit", "no quantity", "x", nil).denies(`"x" is not a quantity of cpu`),
	of("memoryLimit", "a quantity", "256Mi", short{"envoy.limit.memory": "256Mi"}),
	of("memoryLimit", "no quantity", "x", nil).denies(`"x" is not a quantity of memory`),
	// Mounts.
	of("secretMounts", "a list", "front.tls:/certs, ca:/ca", short{"volume.ca": "secret ca", "envoy.mount./ca": "ca read-only", "app.mount./ca": ""}),
	of("secretMounts", "on a gateway", "ca:/ca", short{"envoy.mount./ca": "ca read-only"}).ofGateway(),
	of("secretMounts", "no path", "ca", nil).denies("malformed annotation appmesh.k8s.aws/secretMounts, expected format: secretName:mountPath"),
	of("volumeMounts", "a volume of the pod", "config:/etc/config", short{"envoy.mount./etc/config": "config read-only"}).having(volumes),
	of("volumeMounts", "on a gateway", "config:/etc/config", short{"envoy.mount./etc/config": "config read-only"}).having(volumes).ofGateway(),
	of("volumeMounts", "no path", "config", nil).denies("malformed annotation appmesh.k8s.aws/volumeMounts, expected format: volumeName:mountPath"),
	// Variables.
	of("sidecarEnv", "a list", "A=1, B=2", short{"envoy.env.A": "1", "envoy.env.B": "2"}),
	of("sidecarEnv", "a variable of the operator", "APPMESH_PREVIEW=9", short{"envoy.env.APPMESH_PREVIEW": "0"}).warns("the variable APPMESH_PREVIEW"),
	of("sidecarEnv", "on a gateway", "A=1", short{"envoy.env.A": "1"}).ofGateway(),
	of("sidecarEnv", "a file for the bootstrap", "ENVOY_STATS_CONFIG_FILE=/s", short{"init": "first,envoy-bootstrap,envoy,proxyinit", "envoy-bootstrap.env.ENVOY_STATS_CONFIG_FILE": "/s",
		"envoy-bootstrap.--output": "/var/run/aftermesh/bootstrap.json", "envoy.--config-yaml": ""}),
	of("sidecarEnv", "a file for the bootstrap of a gateway", "ENVOY_STATS_CONFIG_FILE=/s", short{"init": "envoy-bootstrap", "envoy.--config-yaml": ""}).ofGateway(),
	of("sidecarEnv", "two equals signs", "A=b=c", nil).denies("malformed annotation appmesh.k8s.aws/sidecarEnv, expected format: KEY=VALUE"),
	of("sidecarEnvJson", "wins over the list", `[{"A":"x=1,2"}]`, short{"envoy.env.A": "x=1,2"}).with(short{"sidecarEnv": "A=0"}),
	of("sidecarEnvJson", "on a gateway", `[{"A":"x=1,2"}]`, short{"envoy.env.A": "x=1,2"}).ofGateway(),
	of("sidecarEnvJson", "a number", `[{"A":1}]`, nil).denies("malformed annotation appmesh.k8s.aws/sidecarEnvJson"),
	// Secrets from the node's provider, preview, X-Ray.
	{key: "appmesh.k8s.aws/sds", about: "absent, with the flag", config: sds, want: short{"volume.appmesh-sds-socket-volume": "host /run/spire/sockets/agent.sock",
		"envoy.mount./run/spire/sockets/agent.sock": "appmesh-sds-socket-volume", "envoy.env.APPMESH_SDS_SOCKET_PATH": "/run/spire/sockets/agent.sock"}},
	of("sds", "disabled", "disabled", short{"volume.appmesh-sds-socket-volume": "", "envoy.env.APPMESH_SDS_SOCKET_PATH": ""}).on(sds),
	of("sds", "disabled on a gateway", "disabled", short{"volume.appmesh-sds-socket-volume": ""}).on(sds).ofGateway(),
	of("sds", "another value has no effect", "no", short{"volume.appmesh-sds-socket-volume": "host /run/spire/sockets/agent.sock"}).on(sds),
	of("preview", "enabled", "enabled", short{"envoy.env.APPMESH_PREVIEW": "1"}),
	of("preview", "enabled on a gateway", "enabled", short{"envoy.env.APPMESH_PREVIEW": "1"}).ofGateway(),
	of("preview", "another value beats the setting", "no", short{"envoy.env.APPMESH_PREVIEW": "0"}).on(func(c *inject.Config) { c.Preview = true }),
	of("xrayAgentConfigMount", "a volume", "config:/etc/xray", short{"xray-daemon.mount./etc/xray": "config read-only",
		"xray-daemon.command": "/xray --config /etc/xray/xray-daemon.yaml"}).on(xray).having(volumes),
	of("xrayAgentConfigMount", "a volume on a gateway", "config:/etc/xray", short{"xray-daemon.mount./etc/xray": "config read-only"}).on(xray).having(volumes).ofGateway(),
	of("xrayAgentConfigMount", "two volumes", "a:/x,b:/y", nil).denies("malformed annotation appmesh.k8s.aws/xrayAgentConfigMount, expected format: volumeName:mountPath"),
	// Gateways.
	{key: "appmesh.k8s.aws/virtualGatewaySkipImageOverride", about: "absent", gateway: true,
		want: short{"envoy.image": "envoyproxy/envoy:distroless-v1.40.0", "envoy.command": "/usr/local/bin/envoy", "init": ""}},
	of("virtualGatewaySkipImageOverride", "enabled, in any case", "Enabled", short{"envoy.image": "placeholder", "envoy.command": ""}).ofGateway(),
	of("virtualGatewaySkipImageOverride", "another value", "true", short{"envoy.image": "envoyproxy/envoy:distroless-v1.40.0"}).ofGateway(),
	// Names of App Mesh's first releases.
	of("mesh", "has no effect", "other", short{"annotation.mesh": "other", "annotation.aftermesh.dev/node": "mesh/m/virtualNode/front_demo"}),
	of("virtualNode", "has no effect", "other", short{"annotation.virtualNode": "other", "annotation.aftermesh.dev/node": "mesh/m/virtualNode/front_demo"}),
	// Ours.
	{key: "aftermesh.dev/native-sidecar", about: "absent: the flag's", want: short{"envoy.restart": "Always"}},
	of("aftermesh.dev/native-sidecar", "disabled", "disabled", short{"init": "first,proxyinit", "containers": "app,envoy", "envoy.startup": ""}),
	of("aftermesh.dev/native-sidecar", "enabled beats the flag", "enabled", injected).on(func(c *inject.Config) { c.NativeSidecar = false }),
	of("aftermesh.dev/native-sidecar", "another word", "yes", nil).denies(`annotation aftermesh.dev/native-sidecar has the value "yes", expected enabled or disabled`),
	of("aftermesh.dev/init-first", "enabled", "enabled", short{"init": "envoy,proxyinit,first"}),
	of("aftermesh.dev/init-first", "enabled with everything else", "enabled", short{"init": "envoy-bootstrap,envoy,xray-daemon,proxyinit,first"}).on(xray).
		with(short{"sidecarEnv": "ENVOY_STATS_CONFIG_FILE=/s"}),
	of("aftermesh.dev/init-first", "disabled", "disabled", injected),
	of("aftermesh.dev/init-first", "without the native sidecar", "enabled", nil).with(short{"aftermesh.dev/native-sidecar": "disabled"}).
		denies("annotation aftermesh.dev/init-first needs the native sidecar"),
	of("aftermesh.dev/init-first", "another word", "true", nil).denies(`annotation aftermesh.dev/init-first has the value "true", expected enabled or disabled`),
	{key: "aftermesh.dev/hold-application", about: "absent", want: short{"envoy.startup": "", "proxyinit.--wait-for": "http://localhost:9901/ready", "proxyinit.--wait-timeout": "3m0s"}},
	of("aftermesh.dev/hold-application", "enabled, with the plugin", "enabled", short{"envoy.startup": "9901/ready"}).with(short{"appmeshCNI": "enabled"}),
	of("aftermesh.dev/hold-application", "disabled", "disabled", short{"envoy.startup": "", "proxyinit.--wait-for": ""}),
	of("aftermesh.dev/hold-application", "enabled for an ordinary container", "enabled", short{"containers": "envoy,app", "init": "first,envoy-bootstrap,proxyinit",
		"envoy-bootstrap.--install": "/var/run/aftermesh/aftermesh",
		"envoy.postStart":           "/var/run/aftermesh/aftermesh wait-ready --url http://localhost:9901/ready --timeout 3m0s"}).with(short{"aftermesh.dev/native-sidecar": "disabled"}),
	of("aftermesh.dev/hold-application", "disabled beats the flag", "disabled", short{"containers": "app,envoy", "envoy.postStart": ""}).
		on(func(c *inject.Config) { c.NativeSidecar, c.WaitUntilProxyReady = false, true }),
	of("aftermesh.dev/hold-application", "another word", "no", nil).denies(`annotation aftermesh.dev/hold-application has the value "no", expected enabled or disabled`),
	{key: "aftermesh.dev/rewrite-probes", about: "absent: ports with STRICT only", pod: probes, want: short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "8080/up"}},
	of("aftermesh.dev/rewrite-probes", "auto", "auto", short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "8080/up"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "enabled", "Enabled", short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "15020/probe/app/readiness"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "disabled", "disabled", short{"app.liveness": "9090/up", "app.readiness": "8080/up"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "the port is not redirected", "enabled", short{"app.liveness": "9090/up", "app.readiness": "15020/probe/app/readiness"}).having(probes).with(short{"ports": "8080"}),
	of("aftermesh.dev/rewrite-probes", "the application has the port", "auto", nil).denies("port 15020 is where kubelet and Prometheus pass the TLS of VirtualNode demo/front, but container app has it").
		having(func(p *corev1.Pod) {
			probes(p)
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 15020}}
		}),
	of("aftermesh.dev/rewrite-probes", "another word", "on", nil).denies(`annotation aftermesh.dev/rewrite-probes has the value "on", expected auto, enabled or disabled`),
	of("aftermesh.dev/sidecar-image", "an image", "example/envoy:v1", short{"envoy.image": "example/envoy:v1"}),
	of("aftermesh.dev/sidecar-image", "on a gateway", "example/envoy:v1", short{"envoy.image": "example/envoy:v1"}).ofGateway(),
	of("aftermesh.dev/sidecar-image", "no image", "a b", nil).denies(`annotation aftermesh.dev/sidecar-image has the value "a b", expected an image such as`),
	{key: "aftermesh.dev/envoy-concurrency", about: "absent", want: short{"envoy.--concurrency": "2"}},
	of("aftermesh.dev/envoy-concurrency", "a number beats limit and variable", "4", short{"envoy.--concurrency": "4"}).with(short{"cpuLimit": "1", "sidecarEnv": "ENVOY_CONCURRENCY=7"}),
	of("aftermesh.dev/envoy-concurrency", "on a gateway", "4", short{"envoy.--concurrency": "4"}).ofGateway(),
	of("aftermesh.dev/envoy-concurrency", "no number", "many", nil).denies(`annotation aftermesh.dev/envoy-concurrency has the value "many", expected a whole number from 1 up`),
	// What the webhook writes; a user's own value is replaced.
	of("aftermesh.dev/node", "written", "mine", short{"annotation.aftermesh.dev/node": "mesh/m/virtualNode/front_demo"}),
	of("aftermesh.dev/node", "written on a gateway", "mine", short{"annotation.aftermesh.dev/node": "mesh/m/virtualGateway/ingress_demo"}).ofGateway(),
	of("aftermesh.dev/profile", "written", "mine", short{"annotation.aftermesh.dev/profile": `{"ip":"4","v":"v0","ports":[8080,9090]}`}),
	of("aftermesh.dev/profile", "written on a gateway", "mine", short{"annotation.aftermesh.dev/profile": `{"ip":"4","v":"v0"}`}).ofGateway(),
	of("aftermesh.dev/xds-credential", "written", "mine", short{"annotation.aftermesh.dev/xds-credential": bootstrap.CredentialSDS("/var/run/aftermesh-xds/token")}),
	of("aftermesh.dev/bootstrap", "left alone where Envoy gets its bootstrap otherwise", "mine", short{"annotation.aftermesh.dev/bootstrap": "mine"}),
	of("aftermesh.dev/bootstrap", "written for a gateway with a command of its own", "mine", short{"envoy.env.AFTERMESH_BOOTSTRAP": "/var/run/aftermesh-xds/bootstrap.json", "envoy.command": "/start"}).
		having(ownCommand).ofGateway().warns("has a command of its own, which must start Envoy with the bootstrap in"),
	of("sidecarStatus", "written", "mine", short{"init": "first,envoy,proxyinit", "status.version": "v0", "status.node": "mesh/m/virtualNode/front_demo"}),
	// Scrapes.
	of("prometheus.io/scrape", "of a STRICT port", "true", short{"annotation.prometheus.io/port": "15020", "annotation.prometheus.io/path": "/metrics/9090/metrics", "annotation.prometheus.io/scrape": "true"}).
		with(short{"prometheus.io/port": "9090"}),
	of("prometheus.io/scrape", "not asked for", "false", short{"annotation.prometheus.io/port": "9090"}).with(short{"prometheus.io/port": "9090"}),
	of("prometheus.io/port", "a port that is not STRICT", "8080", short{"annotation.prometheus.io/port": "8080", "annotation.prometheus.io/path": ""}).with(short{"prometheus.io/scrape": "true"}),
	of("prometheus.io/port", "no port is left as it is", "web", short{"annotation.prometheus.io/port": "web"}).with(short{"prometheus.io/scrape": "true"}),
	of("prometheus.io/port", "left alone by annotation", "9090", short{"annotation.prometheus.io/port": "9090"}).with(short{"prometheus.io/scrape": "true", "aftermesh.dev/rewrite-probes": "disabled"}),
	of("prometheus.io/path", "a path", "/stats/all", short{"annotation.prometheus.io/path": "/metrics/9090/stats/all"}).with(short{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}),
	of("prometheus.io/scheme", "TLS of the application", "https", short{"annotation.prometheus.io/scheme": "http", "annotation.prometheus.io/port": "15020"}).
		with(short{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}),
	of("prometheus.io/scheme", "clear text", "http", short{"annotation.prometheus.io/scheme": "http", "annotation.prometheus.io/port": "15020"}).
		with(short{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}),
}

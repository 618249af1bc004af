package injection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func ownCommand(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/start"} }

// variable gives the first container a variable.
func variable(name, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
	}
}

// fieldVariable gives the first container a variable that follows a field of the pod.
func fieldVariable(name, path string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: path},
		}})
	}
}

func curlProbe(p *corev1.Pod) {
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{
		Command: []string{"sh", "-c", "curl -s http://localhost:9901/server_info | grep state | grep -q LIVE"},
	}}}
}

func ownReadiness(p *corev1.Pod) {
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8088)}}}
}

func ownHook(p *corev1.Pod) {
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3}}}
}

// gatewayCases are about pods of a VirtualGateway, whose container envoy is completed.
var gatewayCases = []Case{
	about("virtualGatewaySkipImageOverride", "absent", short{"envoy.image": "envoyproxy/envoy:distroless-v1.40.0", "envoy.command": "/usr/local/bin/envoy", "init": ""}).ofGateway(),
	of("virtualGatewaySkipImageOverride", "enabled, in any case", "Enabled", short{"envoy.image": "placeholder", "envoy.command": "", "envoy.env.APPMESH_VIRTUAL_NODE_NAME": ingress}).ofGateway(),
	of("virtualGatewaySkipImageOverride", "another value", "true", short{"envoy.image": "envoyproxy/envoy:distroless-v1.40.0"}).ofGateway(),
	of("virtualGatewaySkipImageOverride", "a pod of a node heeds it not", "enabled", short{"envoy.image": "envoyproxy/envoy:distroless-v1.40.0"}),
	about("container envoy", "of a gateway is completed, and nothing is added beside it", short{
		"containers": "envoy", "init": "", "envoy.readiness": "9901/ready", "envoy.preStop": "sleep 20",
		"envoy.user": "1337", "envoy.port.stats": "", "envoy.request.cpu": "", "fsGroup": "", "pullSecrets": "", "gates": "",
		"envoy.mount./var/run/aftermesh-xds": "aftermesh-xds read-only",
	}).ofGateway(),
	about("container envoy", "missing in a gateway", short{"containers": "web", "init": "", "annotation.aftermesh.dev/node": ""}).ofGateway().
		having(func(p *corev1.Pod) { p.Spec.Containers[0].Name = "web" }).warns("the pod has no container named envoy: nothing serves the gateway"),
	about("container envoy", "missing in a gateway, with X-Ray", short{"containers": "web", "init": ""}).ofGateway().on(traced).
		having(func(p *corev1.Pod) { p.Spec.Containers[0].Name = "web" }).warns("nothing serves the gateway"),
	about("container xray-daemon", "beside a gateway", short{"containers": "envoy", "init": "xray-daemon", "xray-daemon.restart": "Always", "xray-daemon.user": "1337"}).ofGateway().on(traced),
	about("variables", "of a gateway are replaced where they stand", short{"envoy.env.APPMESH_VIRTUAL_NODE_NAME": ingress, "envoy.env.KEPT": "1"}).ofGateway().
		having(variable("APPMESH_VIRTUAL_NODE_NAME", "mesh/old/virtualGateway/old"), variable("KEPT", "1")),
	about("variables", "of a gateway that follow a field get a value instead", short{"envoy.env.ENVOY_LOG_LEVEL": "info"}).ofGateway().
		having(fieldVariable("ENVOY_LOG_LEVEL", "metadata.name")),
	about("variables", "of a gateway that have a value follow a field instead", short{"envoy.env.APPMESH_PLATFORM_K8S_POD_UID": "field metadata.uid"}).ofGateway().
		having(variable("APPMESH_PLATFORM_K8S_POD_UID", "unknown")),
	about("variables", "of a gateway for an agent on the node", short{"envoy.env.STATSD_ADDRESS": "field status.hostIP"}).ofGateway().on(nodeLocal).
		having(variable("STATSD_ADDRESS", "10.0.0.1")),
	about("variables", "of a gateway that App Mesh's image read", short{"envoy.--concurrency": "7"}).ofGateway().having(variable("ENVOY_CONCURRENCY", "7")),
	about("probes of a gateway", "a probe by curl asks the admin port instead", short{"envoy.liveness": "9901/stats?filter=server.live", "envoy.startup": "9901/ready"}).ofGateway().
		having(curlProbe).warns("the liveness probe of container envoy ran curl, which stock Envoy has not"),
	about("probes of a gateway", "a probe by curl stays with an image of the user's", short{
		"envoy.liveness": "sh -c curl -s http://localhost:9901/server_info | grep state | grep -q LIVE",
		"envoy.startup":  "",
	}).ofGateway().having(curlProbe).with(short{"virtualGatewaySkipImageOverride": "enabled"}),
	about("probes of a gateway", "its own readiness probe and hook stay", short{"envoy.readiness": "8088", "envoy.preStop": "sleep 3"}).ofGateway().having(ownReadiness, ownHook),
	about("securityContext.runAsUser", "a gateway's own stays", short{"envoy.user": "1000"}).ofGateway().
		having(func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.To[int64](1000)}
		}),
	about("securityContext.fsGroup", "a gateway gets none", short{"fsGroup": ""}).ofGateway(),
	about("imagePullSecrets", "a gateway gets none", short{"pullSecrets": ""}).ofGateway().on(tuned),
	about("hostNetwork", "a gateway needs no redirection", short{"status.node": ingress}).ofGateway().having(onHostNetwork),
	about("spec.listeners", "a gateway's below 1024", short{"status.node": "mesh/injection/virtualGateway/low_injection", "sysctl.net.ipv4.ip_unprivileged_port_start": "0"}).
		ofGateway().labelled(short{"app": "low"}),
	about("spec.listeners", "a gateway's above 1024", short{"sysctl.net.ipv4.ip_unprivileged_port_start": ""}).ofGateway(),
}

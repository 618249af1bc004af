package injection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// container adds a container to the pod.
func container(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: "own"})
	}
}

// initContainer adds an init container; always makes it a native sidecar.
func initContainer(name string, always bool) func(*corev1.Pod) {
	c := corev1.Container{Name: name, Image: "own"}
	if always {
		c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
	}
	return func(p *corev1.Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, c) }
}

func group(id int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr.To(id)} }
}

func pullSecret(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: name}} }
}

func onWindows(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }

func onHostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

func grace(seconds int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr.To(seconds) }
}

func ends(policy corev1.RestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = policy }
}

func resolves(policy corev1.DNSPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.DNSPolicy = policy }
}

// runsAs makes the application run as a user.
func runsAs(user int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.To(user)}
	}
}

// partCases are about parts of a pod that injection heeds and no annotation names.
var partCases = []Case{
	about("container envoy", "of every pod", short{
		"envoy.user": "1337", "envoy.port.stats": "9901/TCP", "envoy.readiness": "9901/ready", "envoy.readiness.delay": "0",
		"envoy.readiness.period": "10", "envoy.liveness": "", "envoy.preStop": "sleep 20", "envoy.postStart": "", "envoy.command": "/usr/local/bin/envoy",
		"envoy.--log-level": "info",
	}),
	about("container envoy", "the pod's own is left as it is, and redirected", short{
		"init": "first,proxyinit", "containers": "app,envoy", "envoy.image": "own", "envoy.user": "",
		"envoy.env.APPMESH_VIRTUAL_NODE_NAME": "", "annotation.aftermesh.dev/node": "", "proxyinit.--wait-for": "",
	}).
		having(container("envoy")).warns("the pod brings its own container envoy, which is left as it is"),
	about("container envoy", "the pod's own, a native sidecar", short{"init": "first,envoy,proxyinit", "envoy.image": "own", "envoy.env.APPMESH_VIRTUAL_NODE_NAME": ""}).
		having(initContainer("envoy", true)).warns("the pod brings its own container envoy"),
	about("container proxyinit", "of every pod", short{
		"proxyinit.user": "0", "proxyinit.command": "/aftermesh redirect", "proxyinit.image": "{image}",
		"proxyinit.env.APPMESH_START_ENABLED": "1", "proxyinit.env.APPMESH_IGNORE_UID": "1337", "proxyinit.env.APPMESH_ENVOY_INGRESS_PORT": "15000",
		"proxyinit.env.APPMESH_ENVOY_EGRESS_PORT": "15001",
	}),
	about("container proxyinit", "the pod's own stays", short{"init": "first,proxyinit,envoy", "proxyinit.image": "own", "proxyinit.command": "", "status.node": front}).
		having(initContainer("proxyinit", false)),
	about("container xray-daemon", "of every pod", short{
		"init": "first,envoy,xray-daemon,proxyinit", "xray-daemon.user": "1337", "xray-daemon.request.cpu": "10m",
		"xray-daemon.request.memory": "32Mi",
	}).on(traced),
	about("container xray-daemon", "the pod's own stays", short{"init": "first,envoy,proxyinit", "containers": "app,xray-daemon", "xray-daemon.image": "own"}).
		having(container("xray-daemon")).on(traced),
	about("proxy of another mesh", "is not doubled", short{"init": "first", "containers": "app,istio-proxy"}).having(container("istio-proxy")).
		warns("the pod already has the proxy istio-proxy of another mesh"),
	about("proxy of another mesh", "as a native sidecar", short{"init": "first,linkerd-proxy", "containers": "app"}).having(initContainer("linkerd-proxy", true)).
		warns("the pod already has the proxy linkerd-proxy of another mesh"),
	of("sidecarInjectorWebhook", "enabled beside the proxy of another mesh", "enabled", nil).having(container("istio-proxy")).
		denies("sidecarInject enabled but the pod already has the proxy istio-proxy of another mesh"),
	about("securityContext.fsGroup", "absent: the proxy's", short{"fsGroup": "1337"}),
	about("securityContext.fsGroup", "the pod's own stays", short{"fsGroup": "2000", "status.node": front}).having(group(2000)),
	about("securityContext.fsGroup", "0 is the pod's own too", short{"fsGroup": "0", "status.node": front}).having(group(0)),
	about("securityContext.runAsUser", "an application as the proxy's user", short{"status.node": front}).having(runsAs(1337)).
		warns("container app runs as user 1337, the proxy's: its outgoing traffic bypasses the mesh"),
	about("securityContext.runAsUser", "an application as another user", short{"status.node": front, "app.user": "1338"}).having(runsAs(1338)),
	about("imagePullSecrets", "absent, and none is added", short{"pullSecrets": ""}),
	about("imagePullSecrets", "the pod's own stay", short{"pullSecrets": "mine,appmesh-ecr-secret"}).having(pullSecret("mine")).on(traced),
	about("imagePullSecrets", "is not doubled", short{"pullSecrets": "appmesh-ecr-secret"}).having(pullSecret("appmesh-ecr-secret")).on(traced),
	about("hostNetwork", "cannot be redirected", outside).having(onHostNetwork).
		warns("VirtualNode injection/front selects the pod, but the pod uses the host network, where redirection would take the traffic of the whole node: it runs outside the mesh"),
	of("sidecarInjectorWebhook", "enabled on the host's network", "enabled", nil).having(onHostNetwork).
		denies("sidecarInject enabled but the pod uses the host network"),
	of("sidecarInjectorWebhook", "another value on the host's network", "yes", outside).having(onHostNetwork).warns("the pod uses the host network"),
	about("os", "Windows", outside).having(onWindows).warns("the pod runs on Windows, where there is no sidecar: it runs outside the mesh"),
	of("sidecarInjectorWebhook", "enabled on Windows", "enabled", nil).having(onWindows).denies("sidecarInject enabled but the pod runs on Windows"),
	about("dnsPolicy", "cluster first", short{"bootstrap.cluster.aftermesh-xds": "aftermesh.aftermesh-system.svc.cluster.local.:15010"}),
	about("dnsPolicy", "the node's resolver does not know the control plane's name", short{"bootstrap.cluster.aftermesh-xds": "{service}:15010"}).having(resolves(corev1.DNSDefault)),
	about("restartPolicy", "Always", short{"proxyinit.--wait-timeout": "3m0s", "envoy.preStop": "sleep 20"}),
	about("restartPolicy", "OnFailure: nothing keeps a Job from completing", short{"envoy.restart": "Always", "proxyinit.--wait-timeout": "3m0s", "envoy.preStop": ""}).
		having(ends(corev1.RestartPolicyOnFailure)),
	about("restartPolicy", "Never: there is no second chance, so the application waits indefinitely", short{"proxyinit.--wait-timeout": "0s", "envoy.preStop": ""}).
		having(ends(corev1.RestartPolicyNever)),
	about("terminationGracePeriodSeconds", "shorter than the proxy serves on", short{"envoy.preStop": "sleep 9"}).having(grace(10)).
		warns("terminationGracePeriodSeconds is 10, so the proxy serves on for only 9 of 20 seconds"),
	about("terminationGracePeriodSeconds", "longer", short{"envoy.preStop": "sleep 20"}).having(grace(60)),
	about("terminationGracePeriodSeconds", "shorter, of a gateway", short{"envoy.preStop": "sleep 9"}).having(grace(10)).ofGateway().warns("serves on for only 9 of 20 seconds"),
}

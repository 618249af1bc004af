package injection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probes gives the application a liveness probe on the port whose listener is STRICT and a readiness probe on the other.
func probes(p *corev1.Pod) {
	get := func(port int32) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/up", Port: intstr.FromInt32(port)}}}
	}
	p.Spec.Containers[0].LivenessProbe, p.Spec.Containers[0].ReadinessProbe = get(9090), get(8080)
}

func tcpProbe(p *corev1.Pod) {
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9090)}}}
}

func namedProbe(p *corev1.Pod) {
	probes(p)
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 9090}}
	p.Spec.Containers[0].LivenessProbe.HTTPGet.Port = intstr.FromString("web")
}

// port gives the application a port.
func port(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: n}} }
}

// probeCases are about probes and scrapes that listeners would refuse.
var probeCases = []Case{
	about("aftermesh.dev/rewrite-probes", "absent: ports with STRICT only", short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "8080/up"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "auto", "auto", short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "8080/up"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "auto, a named port", "auto", short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "8080/up"}).having(namedProbe),
	of("aftermesh.dev/rewrite-probes", "enabled", "Enabled", short{"app.liveness": "15020/probe/app/liveness", "app.readiness": "15020/probe/app/readiness"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "enabled, but a probe of TCP stays", "enabled", short{"app.liveness": "9090"}).having(tcpProbe),
	of("aftermesh.dev/rewrite-probes", "disabled", "disabled", short{"app.liveness": "9090/up", "app.readiness": "8080/up"}).having(probes),
	of("aftermesh.dev/rewrite-probes", "the port is not redirected", "enabled", short{"app.liveness": "9090/up", "app.readiness": "15020/probe/app/readiness"}).having(probes).
		with(short{"ports": "8080"}),
	of("aftermesh.dev/rewrite-probes", "the application has the port", "auto", nil).having(probes, port(15020)).
		denies("port 15020 is where kubelet and Prometheus pass the TLS of VirtualNode injection/front, but container app has it"),
	of("aftermesh.dev/rewrite-probes", "another word", "on", nil).denies(`annotation aftermesh.dev/rewrite-probes has the value "on", expected auto, enabled or disabled`),
	// Scrapes.
	of("prometheus.io/scrape", "of a STRICT port", "true", short{
		"annotation.prometheus.io/port": "15020", "annotation.prometheus.io/path": "/metrics/9090/metrics",
		"annotation.prometheus.io/scrape": "true",
	}).with(short{"prometheus.io/port": "9090"}),
	of("prometheus.io/scrape", "not asked for", "false", short{"annotation.prometheus.io/port": "9090"}).with(short{"prometheus.io/port": "9090"}),
	of("prometheus.io/scrape", "without a port", "true", short{"annotation.prometheus.io/port": "", "annotation.prometheus.io/path": ""}),
	of("prometheus.io/port", "a port that is not STRICT", "8080", short{"annotation.prometheus.io/port": "8080", "annotation.prometheus.io/path": ""}).with(short{"prometheus.io/scrape": "true"}),
	of("prometheus.io/port", "no port is left as it is", "web", short{"annotation.prometheus.io/port": "web"}).with(short{"prometheus.io/scrape": "true"}),
	of("prometheus.io/port", "left alone by annotation", "9090", short{"annotation.prometheus.io/port": "9090"}).
		with(short{"prometheus.io/scrape": "true", "aftermesh.dev/rewrite-probes": "disabled"}),
	of("prometheus.io/path", "a path", "/stats/all", short{"annotation.prometheus.io/path": "/metrics/9090/stats/all"}).with(short{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}),
	of("prometheus.io/scheme", "TLS of the application", "https", short{"annotation.prometheus.io/scheme": "http", "annotation.prometheus.io/port": "15020"}).
		with(short{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}),
	of("prometheus.io/scheme", "clear text", "http", short{"annotation.prometheus.io/scheme": "http", "annotation.prometheus.io/port": "15020"}).
		with(short{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}),
}

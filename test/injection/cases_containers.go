package injection

import corev1 "k8s.io/api/core/v1"

// volume adds a volume to the pod.
func volume(name string, source corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
}

// Sources of volumes.
var (
	empty   = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	theCA   = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "ca"}}
	another = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "another"}}
	config  = volume("config", empty)
)

func onHost(path string) corev1.VolumeSource {
	return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}
}

// containerCases are about resources, mounts and images of the injected containers.
var containerCases = []Case{
	about("cpuRequest", "absent: the flag's", short{"envoy.request.cpu": "10m"}),
	of("cpuRequest", "a quantity, not for proxyinit", "100m", short{"envoy.request.cpu": "100m", "proxyinit.request.cpu": "10m"}),
	of("cpuRequest", "X-Ray's daemon too", "100m", short{"xray-daemon.request.cpu": "100m"}).on(traced),
	of("cpuRequest", "X-Ray's daemon too, but not the gateway", "100m", short{"xray-daemon.request.cpu": "100m", "envoy.request.cpu": ""}).on(traced).ofGateway(),
	of("cpuRequest", "no quantity", "lots", nil).denies(`"lots" is not a quantity of cpu`),
	about("memoryRequest", "absent: the flag's", short{"envoy.request.memory": "32Mi"}),
	of("memoryRequest", "a quantity, not for proxyinit", "64Mi", short{"envoy.request.memory": "64Mi", "proxyinit.request.memory": "32Mi"}),
	of("memoryRequest", "the empty text is the flag's", "", short{"envoy.request.memory": "32Mi"}),
	of("memoryRequest", "no quantity", "1x", nil).denies(`"1x" is not a quantity of memory`),
	about("cpuLimit", "absent: none", short{"envoy.limit.cpu": "", "xray-daemon.limit.cpu": ""}).on(traced),
	of("cpuLimit", "a quantity, which counts the workers too", "2500m", short{"envoy.limit.cpu": "2500m", "envoy.--concurrency": "3", "proxyinit.limit.cpu": ""}),
	of("cpuLimit", "below the request, which the API server refuses", "5m", nil).refusedWith("must be less than or equal to cpu limit"),
	of("cpuLimit", "no quantity", "x", nil).denies(`"x" is not a quantity of cpu`),
	about("memoryLimit", "absent: none", short{"envoy.limit.memory": ""}),
	of("memoryLimit", "a quantity", "256Mi", short{"envoy.limit.memory": "256Mi", "proxyinit.limit.memory": ""}),
	of("memoryLimit", "X-Ray's daemon too", "256Mi", short{"xray-daemon.limit.memory": "256Mi"}).on(traced),
	of("memoryLimit", "no quantity", "x", nil).denies(`"x" is not a quantity of memory`),
	// Mounts.
	of("secretMounts", "a list", "tls:/certs, ca:/ca", short{
		"volume.ca": "secret ca", "volume.tls": "secret tls", "envoy.mount./ca": "ca read-only",
		"envoy.mount./certs": "tls read-only", "app.mount./ca": "",
	}),
	of("secretMounts", "a name with a dot makes a volume with another name", "front.tls:/certs", short{
		"volume.front-tls-256a7f62": "secret front.tls",
		"envoy.mount./certs":        "front-tls-256a7f62 read-only",
	}),
	of("secretMounts", "on a gateway", "ca:/ca", short{"volume.ca": "secret ca", "envoy.mount./ca": "ca read-only"}).ofGateway(),
	of("secretMounts", "a secret that the pod has as a volume", "ca:/ca", short{"volume.ca": "secret ca", "envoy.mount./ca": "ca read-only"}).having(volume("ca", theCA)),
	of("secretMounts", "a secret whose name is another volume's", "ca:/ca", nil).having(volume("ca", another)).
		denies("names the secret ca, but the pod has another volume of the name ca"),
	of("secretMounts", "no path", "ca", nil).denies("malformed annotation appmesh.k8s.aws/secretMounts, expected format: secretName:mountPath"),
	of("secretMounts", "two colons", "ca:/ca:ro", nil).denies("malformed annotation appmesh.k8s.aws/secretMounts, expected format: secretName:mountPath"),
	of("secretMounts", "one path twice", "a:/x, b:/x", nil).denies("annotation appmesh.k8s.aws/secretMounts mounts /x twice"),
	of("secretMounts", "a path of the proxy's own", "ca:/var/run/aftermesh", nil).denies("must not mount /var/run/aftermesh, which the proxy needs itself"),
	of("volumeMounts", "a volume of the pod", "config:/etc/config", short{"envoy.mount./etc/config": "config read-only"}).having(config),
	of("volumeMounts", "on a gateway", "config:/etc/config", short{"envoy.mount./etc/config": "config read-only"}).having(config).ofGateway(),
	of("volumeMounts", "a volume that is not there, which the API server refuses", "config:/etc/config", nil).refusedWith(`volumeMounts[0].name: Not found: "config"`),
	of("volumeMounts", "no path", "config", nil).denies("malformed annotation appmesh.k8s.aws/volumeMounts, expected format: volumeName:mountPath"),
	about("volumes", "one with the name of the proxy's", nil).having(volume("aftermesh", theCA)).denies("the pod has a volume named aftermesh, a name that the proxy's own volume needs"),
	about("volumes", "the proxy's own", short{
		"volume.aftermesh": "other", "volume.aftermesh-xds": "token for aftermesh, 3600 s",
		"envoy.mount./var/run/aftermesh-xds": "aftermesh-xds read-only", "envoy.mount./tmp": "aftermesh",
	}),
	about("volumes", "the provider's socket under a name of the pod's", short{
		"volume.mine": "host /run/spire/sockets/agent.sock", "volume.appmesh-sds-socket-volume": "",
		"envoy.mount./run/spire/sockets/agent.sock": "mine",
	}).on(traced).having(volume("mine", onHost("/run/spire/sockets/agent.sock"))),
	// Images.
	of("aftermesh.dev/sidecar-image", "an image", "example/envoy:v1", short{"envoy.image": "example/envoy:v1"}),
	of("aftermesh.dev/sidecar-image", "beats the flag", "example/envoy:v1", short{"envoy.image": "example/envoy:v1"}).on(tuned),
	of("aftermesh.dev/sidecar-image", "on a gateway", "example/envoy:v1", short{"envoy.image": "example/envoy:v1"}).ofGateway(),
	of("aftermesh.dev/sidecar-image", "no image", "a b", nil).denies(`annotation aftermesh.dev/sidecar-image has the value "a b", expected an image such as`),
}

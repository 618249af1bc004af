package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// Ports that traffic is redirected to. Source: App Mesh; they are fixed.
const (
	inboundPort  = meshv1beta2.PortInbound
	outboundPort = meshv1beta2.PortOutbound
)

// defaultIgnoredPorts is App Mesh's value of the variable; the redirect step adds its own fixed ports.
const defaultIgnoredPorts = "22"

// redirection returns the redirect step; it is nil where the pod has one, or annotations are written for the CNI plugin that does its work.
func (w *work) redirection() (*corev1.Container, error) {
	settings := w.redirectVariables()
	plan, err := redirect.FromEnv(func(name string) string { return settings[name] })
	if err != nil {
		return nil, deny("redirection: %v", err)
	}
	w.report.Redirect = plan.Describe()
	for _, port := range []int{inboundPort, outboundPort, int(w.config.AdminPort)} {
		if slices.Contains(plan.AppPorts, uint16(port)) {
			w.report.warn("annotation %s lists %d, a port of the proxy itself", meshv1beta2.AnnotationPorts, port)
		}
	}
	w.warnOfUndeclared(plan.AppPorts)
	if w.request.cni {
		w.annotateForCNI(settings)
		return nil, nil
	}
	if w.has(initContainer) {
		return nil, nil
	}
	resources, err := w.config.Resources.requirements()
	if err != nil {
		return nil, deny("%v", err)
	}
	env := variables{}
	for name, value := range settings {
		env.set(name, value)
	}
	return &corev1.Container{
		Name: initContainer, Image: w.config.InitImage, Command: w.config.InitCommand, Env: env.sorted(), Resources: resources,
		// Only user 0 gets an added capability in effect.
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: ptr.To[int64](0), RunAsGroup: ptr.To[int64](0), RunAsNonRoot: ptr.To(false),
			AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}, nil
}

// holdFor makes the redirect step, which comes after Envoy, end only when that has its first configuration: the application starts
// then. A startup probe would be asked once a second, and what it says would be acted upon with kubelet's next look at the pod: one to two
// seconds more in the start of every pod.
func (w *work) holdFor(step *corev1.Container) {
	timeout := w.config.PostStartTimeout
	if w.pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
		timeout = 0 // such a pod gets no second chance, so it waits indefinitely
	}
	step.Args = []string{"--wait-for", w.config.readyURL(), "--wait-timeout", timeout.String()}
	// What it waited for without effect is named in the pod's status.
	step.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
}

// redirectVariables are the settings of the redirect step, as its environment.
func (w *work) redirectVariables() map[string]string {
	r := w.request
	return map[string]string{
		redirect.EnvEnabled:      "1",
		redirect.EnvIgnoreUID:    fmt.Sprint(proxyUID),
		redirect.EnvInboundPort:  fmt.Sprint(inboundPort),
		redirect.EnvOutboundPort: fmt.Sprint(outboundPort),
		redirect.EnvAppPorts:     w.appPorts(),
		redirect.EnvIgnoredPorts: ptr.Deref(r.ignoredPorts, defaultIgnoredPorts),
		redirect.EnvIgnoredIPs:   w.ignoredIPs(),
		redirect.EnvIPv6:         map[bool]string{true: "1", false: "0"}[r.ipv6],
	}
}

// warnOfUndeclared tells when the pod's containers declare ports, but none of those that are redirected: a Service that leads to them leads
// past the proxy.
func (w *work) warnOfUndeclared(redirected []uint16) {
	var declared []string
	for _, c := range w.pod.Spec.Containers {
		for _, p := range c.Ports {
			if c.Name == envoyContainer || p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
				continue
			}
			if slices.Contains(redirected, uint16(p.ContainerPort)) {
				return
			}
			declared = append(declared, fmt.Sprint(p.ContainerPort))
		}
	}
	if len(declared) > 0 && len(redirected) > 0 {
		w.report.warn("no container declares a port that %s listens on (%s); traffic to port %s is not intercepted", w.target, joinPorts(redirected), strings.Join(declared, ", "))
	}
}

// appPorts are the annotation's words, else the node's listeners.
func (w *work) appPorts() string {
	if w.request.portsSet {
		return w.request.portsText
	}
	return joinPorts(listenerPorts(w.target.Node, w.config))
}

// capturedPorts are the same as numbers, sorted.
func (w *work) capturedPorts() []int {
	ports := w.request.ports
	if !w.request.portsSet {
		ports = listenerPorts(w.target.Node, w.config)
	}
	captured := []int{}
	for _, port := range ports {
		captured = append(captured, int(port))
	}
	slices.Sort(captured)
	return captured
}

// listenerPorts are the ports of the node's listeners in their order, without those that the proxy itself uses: such
// listeners are not served.
func listenerPorts(n *meshv1beta2.VirtualNode, c Config) []uint16 {
	var ports []uint16
	for _, l := range n.Spec.Listeners {
		port := uint16(l.PortMapping.Port)
		if meshv1beta2.ProxyPort(int64(port), int64(c.AdminPort)) == "" && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// ignoredIPs are the annotation's or the flag's destinations, and the API server's where the mesh drops what it does not know.
func (w *work) ignoredIPs() string {
	list := ptr.Deref(w.request.ignoredIPs, w.config.IgnoredIPs)
	filter := w.target.Mesh.Spec.EgressFilter
	if filter != nil && filter.Type == meshv1beta2.EgressFilterAllowAll {
		return list
	}
	for _, address := range w.config.KubernetesAPI {
		if !slices.Contains(strings.Split(list, ","), address) {
			list = strings.TrimPrefix(list+","+address, ",")
		}
	}
	return list
}

// annotateForCNI writes what a CNI plugin reads. Ours win over the user's.
func (w *work) annotateForCNI(settings map[string]string) {
	w.annotate(map[string]string{
		meshv1beta2.LabelInject:                  "enabled",
		meshv1beta2.AnnotationPorts:              settings[redirect.EnvAppPorts],
		meshv1beta2.AnnotationEgressIgnoredIPs:   settings[redirect.EnvIgnoredIPs],
		meshv1beta2.AnnotationEgressIgnoredPorts: settings[redirect.EnvIgnoredPorts],
		annotationProxyIngressPort:               settings[redirect.EnvInboundPort],
		annotationProxyEgressPort:                settings[redirect.EnvOutboundPort],
		annotationIgnoredUID:                     settings[redirect.EnvIgnoreUID],
	})
}

func (w *work) annotate(annotations map[string]string) {
	if w.pod.Annotations == nil {
		w.pod.Annotations = map[string]string{}
	}
	for key, value := range annotations {
		w.pod.Annotations[key] = value
	}
}

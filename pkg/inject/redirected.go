package inject

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// annotationIgnoredGID names a group whose traffic is left alone. Source: App Mesh's CNI plugin; the injector never writes it.
const annotationIgnoredGID = "appmesh.k8s.aws/ignoredGID"

// Redirector is who redirects the traffic of a pod.
type Redirector string

// The redirectors.
const (
	// NoRedirector: nobody does.
	NoRedirector Redirector = ""
	// InitContainer: the pod's own init container.
	InitContainer Redirector = initContainer
	// CNIPlugin: a plugin of the node's network, by the pod's annotations.
	CNIPlugin Redirector = "cni"
)

// RedirectionOf reads from a pod who redirects its traffic, and how. The error says what cannot be read.
func RedirectionOf(pod *corev1.Pod) (Redirector, redirect.Config, error) {
	for _, c := range pod.Spec.InitContainers {
		if c.Name != initContainer {
			continue
		}
		env := map[string]string{}
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		plan, err := redirect.FromEnv(func(name string) string { return env[name] })
		return InitContainer, plan, err
	}
	a := pod.Annotations
	if !strings.EqualFold(a[meshv1beta2.LabelInject], "enabled") || a[annotationProxyEgressPort] == "" {
		return NoRedirector, redirect.Config{}, nil
	}
	settings := map[string]string{
		redirect.EnvEnabled:      "1",
		redirect.EnvIgnoreUID:    a[annotationIgnoredUID],
		redirect.EnvIgnoreGID:    a[annotationIgnoredGID],
		redirect.EnvInboundPort:  a[annotationProxyIngressPort],
		redirect.EnvOutboundPort: a[annotationProxyEgressPort],
		redirect.EnvAppPorts:     a[meshv1beta2.AnnotationPorts],
		redirect.EnvIgnoredPorts: a[meshv1beta2.AnnotationEgressIgnoredPorts],
		redirect.EnvIgnoredIPs:   a[meshv1beta2.AnnotationEgressIgnoredIPs],
		redirect.EnvIPv6:         map[bool]string{true: "0", false: "1"}[a[annotationIPv6] == "disabled"],
	}
	plan, err := redirect.FromEnv(func(name string) string { return settings[name] })
	if err != nil {
		err = fmt.Errorf("the annotations appmesh.k8s.aws/… of the pod (ports, egressIgnoredPorts, egressIgnoredIPs, proxyIngressPort, proxyEgressPort, ignoredUID, ignoredGID): %w", err)
	}
	return CNIPlugin, plan, err
}

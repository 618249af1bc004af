package source

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// podRow is what is kept of a pod; the service account is for the authentication of its proxy.
type podRow struct {
	*input.Pod
	ServiceAccount, NodeName string
	// proxySince is when the container of its proxy was started; zero while it does not run.
	proxySince time.Time
}

// convertPod returns the row of a pod that has, or may get, an address. Pods of the host network and finished ones take no part.
func convertPod(p *corev1.Pod) podRow {
	out := &input.Pod{
		UID: string(p.UID), Namespace: p.Namespace, Name: p.Name, Labels: p.Labels,
		Terminating: p.DeletionTimestamp != nil,
		Running:     p.Status.Phase == corev1.PodRunning,
		Node:        p.Annotations[meshv1beta2.AnnotationNode],
		Injection:   p.Annotations[meshv1beta2.LabelInject],
		Asked:       inject.ClearPorts(p),
		Exempt:      inject.Exempt(p), HasEnvoy: inject.HasEnvoy(p),
	}
	for _, ip := range p.Status.PodIPs {
		out.IPs = append(out.IPs, ip.IP)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
	}
	if raw := p.Annotations[meshv1beta2.AnnotationProfile]; raw != "" {
		// A pod's own users may write anything here; what cannot be read is the profile of an unknown injector.
		if err := json.Unmarshal([]byte(raw), &out.Profile); err != nil {
			out.Profile = meshv1beta2.Profile{}
		}
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			for _, port := range c.Ports {
				if port.Name != "" && port.Protocol != corev1.ProtocolUDP && port.Protocol != corev1.ProtocolSCTP {
					if out.NamedPorts == nil {
						out.NamedPorts = map[string]uint32{}
					}
					out.NamedPorts[port.Name] = uint32(port.ContainerPort)
				}
			}
		}
	}
	return podRow{Pod: out, ServiceAccount: p.Spec.ServiceAccountName, NodeName: p.Spec.NodeName, proxySince: proxySince(p)}
}

func proxySince(p *corev1.Pod) time.Time {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == inject.EnvoyContainer && c.State.Running != nil {
				return c.State.Running.StartedAt.Time
			}
		}
	}
	return time.Time{}
}

// convertService keeps the TCP ports of a Service.
func convertService(s *corev1.Service) *input.Service {
	out := &input.Service{Namespace: s.Namespace, Name: s.Name}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		out.ExternalName = s.Spec.ExternalName
		return out
	}
	for _, ip := range s.Spec.ClusterIPs {
		if ip != "" && ip != corev1.ClusterIPNone {
			out.ClusterIPs = append(out.ClusterIPs, ip)
		}
	}
	for _, p := range s.Spec.Ports {
		if p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
			continue
		}
		port := input.ServicePort{Name: p.Name, Port: uint32(p.Port)}
		switch {
		case p.TargetPort.Type == intstr.String:
			port.TargetName = p.TargetPort.StrVal
		case p.TargetPort.IntVal != 0:
			port.Target = uint32(p.TargetPort.IntVal)
		default:
			port.Target = port.Port
		}
		out.Ports = append(out.Ports, port)
	}
	return out
}

// convertSlice keeps the addresses of an EndpointSlice; slices of names instead of addresses have none.
func convertSlice(s *discoveryv1.EndpointSlice) *input.Slice {
	out := &input.Slice{Namespace: s.Namespace, Service: s.Labels[discoveryv1.LabelServiceName], Ports: map[string]uint32{}}
	for _, p := range s.Ports {
		if p.Port == nil || (p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP) {
			continue
		}
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		out.Ports[name] = uint32(*p.Port)
	}
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		return out
	}
	for _, e := range s.Endpoints {
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		terminating := e.Conditions.Terminating != nil && *e.Conditions.Terminating
		zone := ""
		if e.Zone != nil {
			zone = *e.Zone
		}
		for _, a := range e.Addresses {
			out.Endpoints = append(out.Endpoints, input.SliceEndpoint{Address: a, Ready: ready && !terminating, Zone: zone})
		}
	}
	return out
}

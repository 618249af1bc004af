package source

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject"
)

// CloudMapGate is the readiness gate that App Mesh put into pods and opened when Cloud Map knew them.
const CloudMapGate corev1.PodConditionType = "conditions.appmesh.k8s.aws/aws-cloudmap-healthy"

// HasCloudMapGate is true for a pod with the gate.
func HasCloudMapGate(p *corev1.Pod) bool {
	return slices.Contains(p.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: CloudMapGate})
}

// maxAnnotation bounds what is kept of an annotation. The longest that the injector writes is the profile, some hundred bytes.
const maxAnnotation = 4 << 10

// Slim is for the transform of the cache's informer of pods. It keeps of a pod what Cluster makes a row of, and what opens readiness
// gates. Ten thousand pods would otherwise take most of the memory.
func Slim(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: p.Name, Namespace: p.Namespace, UID: p.UID, ResourceVersion: p.ResourceVersion,
		Labels: p.Labels, DeletionTimestamp: p.DeletionTimestamp,
	}}
	kept := map[string]string{}
	for _, k := range []string{meshv1beta2.AnnotationNode, meshv1beta2.AnnotationProfile, meshv1beta2.LabelInject} {
		// A value that is longer was not written by the injector, and would stay in memory for every pod of a stranger.
		if v, ok := p.Annotations[k]; ok && len(v) <= maxAnnotation {
			kept[k] = v
		}
	}
	inject.KeepClearPorts(kept, p)
	if len(kept) > 0 {
		out.Annotations = kept
	}
	out.Spec.OS = p.Spec.OS
	if inject.ForWindows(p) {
		out.Spec.OS = &corev1.PodOS{Name: corev1.Windows} // whatever says so
	}
	out.Spec.NodeName, out.Spec.ServiceAccountName, out.Spec.HostNetwork = p.Spec.NodeName, p.Spec.ServiceAccountName, p.Spec.HostNetwork
	out.Spec.InitContainers, out.Spec.Containers = slimContainers(p.Spec.InitContainers), slimContainers(p.Spec.Containers)
	out.Status.Phase, out.Status.PodIPs = p.Status.Phase, p.Status.PodIPs
	gated := HasCloudMapGate(p)
	if gated {
		out.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: CloudMapGate}}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady || gated && (c.Type == corev1.ContainersReady || c.Type == CloudMapGate) {
			out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status})
		}
	}
	out.Status.InitContainerStatuses, out.Status.ContainerStatuses = slimStatuses(p.Status.InitContainerStatuses), slimStatuses(p.Status.ContainerStatuses)
	return out, nil
}

// slimStatuses keeps when the proxy was started.
func slimStatuses(list []corev1.ContainerStatus) []corev1.ContainerStatus {
	for _, c := range list {
		if c.Name == inject.EnvoyContainer && c.State.Running != nil {
			return []corev1.ContainerStatus{{Name: c.Name, State: corev1.ContainerState{Running: c.State.Running}}}
		}
	}
	return nil
}

// slimContainers keeps the named ports, and the containers whose names decide about injection.
func slimContainers(list []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range list {
		var ports []corev1.ContainerPort
		for _, p := range c.Ports {
			if p.Name != "" {
				ports = append(ports, p)
			}
		}
		if len(ports) > 0 || slices.Contains(inject.Proxies(), c.Name) {
			out = append(out, corev1.Container{Name: c.Name, Ports: ports})
		}
	}
	return out
}

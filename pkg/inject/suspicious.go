package inject

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/redirect"
	"github.com/aftermesh/aftermesh/pkg/spell"
)

// warnAboutMistakes names what is allowed in a pod, and hardly meant.
func (w *work) warnAboutMistakes() {
	w.misspelled()
	w.missingVolumes()
	w.ownHosts()
	w.lostDefaults()
}

// known are the annotations that mean something on a pod: App Mesh's and ours.
var known = []string{
	meshv1beta2.LabelInject, meshv1beta2.AnnotationPorts, meshv1beta2.AnnotationEgressIgnoredPorts, meshv1beta2.AnnotationEgressIgnoredIPs,
	meshv1beta2.AnnotationNode, meshv1beta2.AnnotationProfile, meshv1beta2.AnnotationCredential,
	annotationIPv6, annotationCNI, annotationProxyEgressPort, annotationProxyIngressPort, annotationIgnoredUID, annotationIgnoredGID, annotationCPURequest,
	annotationMemoryRequest, annotationCPULimit, annotationMemoryLimit, annotationSecretMounts, annotationVolumeMounts, annotationSidecarEnv,
	annotationSidecarEnvJSON, annotationSDS, annotationPreview, annotationXRayConfigMount, annotationSkipImage, annotationStatus,
	annotationNative, annotationInitFirst, annotationHold, annotationRewrite, annotationImage, annotationConcurrency, annotationBootstrap,
}

// misspelled names annotations that nobody reads and that look like one that is read.
func (w *work) misspelled() {
	for _, key := range slices.Sorted(maps.Keys(w.pod.Annotations)) {
		prefix, name, ok := strings.Cut(key, "/")
		if !ok || slices.Contains(known, key) {
			continue
		}
		var names []string
		for _, k := range known {
			if rest, ours := strings.CutPrefix(k, prefix+"/"); ours {
				names = append(names, rest)
			}
		}
		if near := spell.Nearest(name, names); near != "" {
			w.report.warn("annotation %s is unknown and has no effect; did you mean %s/%s?", key, prefix, near)
		}
	}
}

// missingVolumes names volumes that annotations mount and the pod does not have: the API server refuses such a pod.
func (w *work) missingVolumes() {
	volumes := make([]string, len(w.pod.Spec.Volumes))
	for i, v := range w.pod.Spec.Volumes {
		volumes[i] = v.Name
	}
	for _, m := range w.request.volumeMounts {
		if slices.Contains(volumes, m.source) {
			continue
		}
		remedy := "add it to spec.volumes"
		if near := spell.Nearest(m.source, volumes); near != "" {
			remedy = fmt.Sprintf("did you mean %s?", near)
		}
		w.report.warn("annotation %s mounts volume %s, which the pod does not have; %s", annotationVolumeMounts, m.source, remedy)
	}
}

// ownHosts names probes and hooks that kubelet sends to its own machine in place of the pod.
func (w *work) ownHosts() {
	for _, list := range [][]corev1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			for kind, probe := range handlers(c) {
				host := ""
				switch {
				case probe.HTTPGet != nil:
					host = probe.HTTPGet.Host
				case probe.TCPSocket != nil:
					host = probe.TCPSocket.Host
				}
				address, err := netip.ParseAddr(host)
				if host == "localhost" || err == nil && address.Unmap().IsLoopback() {
					w.report.warn("the %s of container %s asks host %s, which for kubelet is its own node and not the pod; remove host", title(kind), c.Name, host)
				}
			}
		}
	}
}

// lostDefaults names the destinations that are left alone by default and not with the pod's own list.
func (w *work) lostDefaults() {
	if w.request.ignoredIPs == nil || strings.TrimSpace(*w.request.ignoredIPs) == "" || w.target.Gateway != nil {
		return
	}
	own, err := redirect.ParsePrefixes(*w.request.ignoredIPs)
	if err != nil {
		return // the pod is denied for it
	}
	for item := range strings.SplitSeq(w.config.IgnoredIPs, ",") {
		prefixes, err := redirect.ParsePrefixes(item)
		if err != nil || len(prefixes) != 1 {
			continue
		}
		p := prefixes[0]
		if !slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }) {
			w.report.warn("annotation %s replaces the default %s, so that connections there go through Envoy; add it to the list unless that is meant",
				meshv1beta2.AnnotationEgressIgnoredIPs, item)
		}
	}
}

package inject

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Kinds of probes and hooks, as they stand in paths and in Originals.
const (
	liveness  = "liveness"
	readiness = "readiness"
	startup   = "startup"
	postStart = "postStart"
	preStop   = "preStop"
)

// Annotations by which Prometheus finds what to scrape. Source: the example configuration that comes with Prometheus.
const (
	annotationScrape       = "prometheus.io/scrape"
	annotationScrapePort   = "prometheus.io/port"
	annotationScrapePath   = "prometheus.io/path"
	annotationScrapeScheme = "prometheus.io/scheme"
	defaultScrapePath      = "/metrics"
)

// Asked is something that kubelet or Prometheus asks a port of a running pod which is redirected to the proxy.
type Asked struct {
	// By is what asks: "<container>/<kind>" as in Originals, or the annotation of a scrape.
	By   string
	Port uint16
	// TLS is true when it asks with TLS; a certificate it never has.
	TLS bool
}

// String is a clause, such as "the readiness probe of container app asks port 8080".
func (a Asked) String() string {
	container, kind, ok := strings.Cut(a.By, "/")
	if !ok || a.By == annotationScrapePort {
		return fmt.Sprintf("Prometheus by annotation %s asks port %d", a.By, a.Port)
	}
	return fmt.Sprintf("the %s of container %s asks port %d", title(kind), container, a.Port)
}

// AskedPorts lists what is asked of the listeners of a running, injected pod, sorted by what asks. What was rewritten is not among it: it
// asks ports that are not redirected. Nor is what succeeded before the proxy of the pod started.
func AskedPorts(pod *corev1.Pod) []Asked {
	who, plan, err := RedirectionOf(pod)
	if err != nil || who == NoRedirector {
		return nil
	}
	var out []Asked
	note := func(by string, port uint16, tls bool) {
		if slices.Contains(plan.AppPorts, port) {
			out = append(out, Asked{by, port, tls})
		}
	}
	early := true
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			early = early && c.Name != envoyContainer
			for kind, probe := range handlers(c) {
				if !early || !atStart(kind) {
					note(c.Name+"/"+kind, portOf(c, &probe.ProbeHandler), asksWithTLS(&probe.ProbeHandler))
				}
			}
		}
		early = false // ordinary containers start side by side
	}
	note(annotationScrapePort, scrapedPort(pod.Annotations), strings.EqualFold(pod.Annotations[annotationScrapeScheme], "https"))
	slices.SortFunc(out, func(x, y Asked) int { return cmp.Compare(x.By, y.By) })
	return out
}

// Refused lists what the listeners of n refuse of that: they are STRICT, and were not, or the pod was not rewritten, when it was made. A
// request with TLS passes where the listener ends TLS and asks for no certificate.
func Refused(pod *corev1.Pod, n *meshv1beta2.VirtualNode) []Asked {
	return slices.DeleteFunc(AskedPorts(pod), func(a Asked) bool {
		return !slices.ContainsFunc(n.Spec.Listeners, func(l meshv1beta2.Listener) bool {
			return l.PortMapping.Port == int64(a.Port) && l.TLS != nil && l.TLS.Mode == meshv1beta2.TLSModeStrict &&
				!(a.TLS && l.TLS.Validation == nil && l.PortMapping.Protocol != meshv1beta2.ProtocolTCP)
		})
	})
}

// annotationClearPorts is what is left of probes in a pod that the operator has cut down to what it keeps. It is no key of the API, and
// therefore has no domain.
const annotationClearPorts = "clear-ports"

// ClearPorts are the ports of a running pod that AskedPorts names and that are asked in clear text, sorted; none for a pod that is to be
// left so.
func ClearPorts(pod *corev1.Pod) []uint32 {
	var out []uint32
	if text, cut := pod.Annotations[annotationClearPorts]; cut {
		for word := range strings.SplitSeq(text, ",") {
			if port, err := strconv.ParseUint(word, 10, 16); err == nil { // we wrote it, see KeepClearPorts
				out = append(out, uint32(port))
			}
		}
		return out
	}
	if KeepsProbes(pod) {
		return nil
	}
	for _, a := range AskedPorts(pod) {
		if !a.TLS {
			out = append(out, uint32(a.Port))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// KeepClearPorts notes the ClearPorts of a pod among the annotations of what is kept of it, where ClearPorts finds them again.
func KeepClearPorts(kept map[string]string, pod *corev1.Pod) {
	if ports := ClearPorts(pod); len(ports) > 0 {
		kept[annotationClearPorts] = joinPorts(ports)
	}
}

// KeepsProbes is true for pods whose annotation forbids to rewrite what asks them.
func KeepsProbes(pod *corev1.Pod) bool {
	return strings.EqualFold(strings.TrimSpace(pod.Annotations[annotationRewrite]), string(rewriteNone))
}

// Rewrote is true when what asks was rewritten in the pod of this status.
func (s Status) Rewrote(a Asked) bool {
	if s.Originals == nil {
		return false
	}
	_, probe := s.Originals.Probes[a.By]
	_, annotation := s.Originals.Annotations[a.By]
	return probe || annotation
}

// handlers ranges over the probes and hooks of a container by their kinds. What they ask may be changed in place.
func handlers(c *corev1.Container) iter.Seq2[string, *corev1.Probe] {
	return func(yield func(string, *corev1.Probe) bool) {
		hooks := ptr.Deref(c.Lifecycle, corev1.Lifecycle{})
		for _, x := range []struct {
			kind  string
			probe *corev1.Probe
		}{
			{liveness, c.LivenessProbe}, {readiness, c.ReadinessProbe}, {startup, c.StartupProbe},
			{postStart, asProbe(hooks.PostStart)}, {preStop, asProbe(hooks.PreStop)},
		} {
			if x.probe != nil && !yield(x.kind, x.probe) {
				return
			}
		}
	}
}

// asProbe is a hook as a probe that asks the same; nil for none and for hooks that ask nothing.
func asProbe(h *corev1.LifecycleHandler) *corev1.Probe {
	if h == nil || h.HTTPGet == nil {
		return nil
	}
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: h.HTTPGet}}
}

func isHook(kind string) bool { return kind == postStart || kind == preStop }

// atStart is true for what must succeed before the next container starts.
func atStart(kind string) bool { return kind == startup || kind == postStart }

// title is how messages name a kind.
func title(kind string) string {
	if isHook(kind) {
		return kind + " hook"
	}
	return kind + " probe"
}

// portOf is the port of the pod that kubelet asks; 0 if it asks nothing that can be forwarded: another host, a port that is not
// known, a command, or whether a TCP connection can be made.
func portOf(c *corev1.Container, h *corev1.ProbeHandler) uint16 {
	switch {
	case h.GRPC != nil:
		return uint16(h.GRPC.Port)
	case h.HTTPGet == nil || h.HTTPGet.Host != "":
		return 0
	case h.HTTPGet.Port.Type == intstr.Int:
		return uint16(h.HTTPGet.Port.IntVal)
	}
	name := h.HTTPGet.Port.StrVal
	for _, declared := range c.Ports {
		if declared.Name == name {
			return uint16(declared.ContainerPort)
		}
	}
	// Kubelet takes a number in quotes for a number.
	number, err := strconv.ParseUint(name, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(number)
}

func asksWithTLS(h *corev1.ProbeHandler) bool {
	if h.GRPC != nil {
		return ptr.Deref(h.GRPC.Mode, corev1.GRPCProbeModePlaintext) == corev1.GRPCProbeModeTLS
	}
	return h.HTTPGet != nil && h.HTTPGet.Scheme == corev1.URISchemeHTTPS
}

// scrapedPort is the port that Prometheus asks by the annotations of a pod; 0 for none.
func scrapedPort(annotations map[string]string) uint16 {
	port, err := strconv.ParseUint(annotations[annotationScrapePort], 10, 16)
	if annotations[annotationScrape] != "true" || err != nil {
		return 0
	}
	return uint16(port)
}

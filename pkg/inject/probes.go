package inject

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

const (
	// probePort is where kubelet and Prometheus ask instead of a port whose listener refuses them. It is not redirected.
	probePort = meshv1beta2.PortProbes
	// healthCheck is what kubelet calls in a gRPC probe; which service it means stands inside the message.
	healthCheck = "/grpc.health.v1.Health/Check"
)

// probeForwarder rewrites a pod so that kubelet and Prometheus pass the listeners that would refuse them.
type probeForwarder struct {
	*work
	// ports are those of the application that need it.
	ports    []uint16
	forwards []bootstrap.Forward
	// owners says which container has a port; nil until somebody asks.
	owners map[int32]string
}

// rewriteProbes leads probes, hooks and scrapes of ports whose listener asks for TLS to ports of the proxy that forward
// exactly these requests. What was there goes into the status annotation.
func (w *work) rewriteProbes() ([]bootstrap.Forward, error) {
	p := &probeForwarder{work: w, ports: w.shieldedPorts()}
	w.originals = Originals{Probes: map[string]corev1.ProbeHandler{}, Annotations: map[string]string{}}
	if len(p.ports) == 0 {
		return nil, nil
	}
	for i := range w.pod.Spec.InitContainers {
		p.container(&w.pod.Spec.InitContainers[i], !w.request.initFirst)
	}
	for i := range w.pod.Spec.Containers {
		p.container(&w.pod.Spec.Containers[i], false)
	}
	p.scrape()
	return p.forwards, p.conflict()
}

// warnAboutLate names probes that came into the pod after its proxy, by another webhook: the proxy does not know them.
func (w *work) warnAboutLate() {
	late := &work{pod: w.pod.DeepCopy(), target: w.target, config: w.config, request: w.request}
	if _, err := late.rewriteProbes(); err != nil {
		return // the first injection would have been denied
	}
	for _, name := range slices.Sorted(maps.Keys(late.originals.Probes)) {
		w.report.warn("the probe or hook %s came into the pod after the proxy and is not rewritten: the listener of %s refuses it", name, w.target)
	}
}

// shieldedPorts are the redirected ports that kubelet cannot ask: those of listeners that take nothing but TLS, or all of
// them when the annotation says so.
func (w *work) shieldedPorts() []uint16 {
	if w.request.rewrite == rewriteNone {
		return nil
	}
	strict := map[int]bool{}
	for _, l := range w.target.Node.Spec.Listeners {
		strict[int(l.PortMapping.Port)] = l.TLS != nil && l.TLS.Mode == meshv1beta2.TLSModeStrict
	}
	var ports []uint16
	for _, port := range w.capturedPorts() {
		if strict[port] || w.request.rewrite == rewriteAll {
			ports = append(ports, uint16(port))
		}
	}
	return ports
}

// container rewrites the probes and hooks of one container. early says that it starts before the proxy.
func (p *probeForwarder) container(c *corev1.Container, early bool) {
	if c.Name == initContainer || c.Name == xrayContainer {
		return
	}
	for kind, probe := range handlers(c) {
		timeout := time.Duration(max(1, probe.TimeoutSeconds)) * time.Second
		if isHook(kind) {
			timeout = 0
		}
		p.handler(c, kind, &probe.ProbeHandler, timeout, early && atStart(kind))
	}
}

// handler rewrites one probe or hook in place if its port needs it. One that must succeed before the proxy starts stays: it
// meets no redirection yet.
func (p *probeForwarder) handler(c *corev1.Container, kind string, h *corev1.ProbeHandler, timeout time.Duration, early bool) {
	port := portOf(c, h)
	if !slices.Contains(p.ports, port) {
		return
	}
	if early {
		p.report.warn("the %s of init container %s asks port %d before the proxy starts and is left as it is: if the container restarts later, the listener refuses it; annotation %s: enabled starts the proxy first",
			title(kind), c.Name, port, annotationInitFirst)
		return
	}
	p.originals.Probes[c.Name+"/"+kind] = *h.DeepCopy()
	tls := p.ownTLS(port, asksWithTLS(h))
	if h.GRPC != nil {
		h.GRPC.Port, h.GRPC.Mode = int32(p.grpc(port, tls, timeout)), nil
		return
	}
	get := h.HTTPGet
	forward := bootstrap.Forward{
		Listen: probePort, Methods: []string{http.MethodGet, http.MethodHead}, Path: "/probe/" + c.Name + "/" + kind,
		Host: hostHeader(get), Port: port, Target: requestURI(get.Path), Timeout: timeout,
		TLS: tls, HTTP2: ptr.Deref(get.Protocol, "") == corev1.HTTPProtocolHTTP2,
	}
	p.forwards = append(p.forwards, forward)
	get.Path, get.Port, get.Scheme = forward.Path, intstr.FromInt32(probePort), corev1.URISchemeHTTP
}

// ownTLS says whether the application itself speaks TLS on a port that is asked with TLS. Where a listener of the node ends TLS and
// speaks HTTP behind it, it does not: such a probe was meant for the listener.
func (p *probeForwarder) ownTLS(port uint16, asked bool) bool {
	if !asked {
		return false
	}
	return !slices.ContainsFunc(p.target.Node.Spec.Listeners, func(l meshv1beta2.Listener) bool {
		return int(l.PortMapping.Port) == int(port) && l.PortMapping.Protocol != meshv1beta2.ProtocolTCP &&
			l.TLS != nil && l.TLS.Mode != meshv1beta2.TLSModeDisabled
	})
}

// grpc returns the port that forwards calls for the health of an application's port. There is one for each, because such a
// probe has no path of its own.
func (p *probeForwarder) grpc(port uint16, tls bool, timeout time.Duration) uint16 {
	listen := uint16(probePort)
	for i, f := range p.forwards {
		if f.Listen == probePort {
			continue
		}
		if f.Port == port && f.TLS == tls {
			p.forwards[i].Timeout = max(f.Timeout, timeout)
			return f.Listen
		}
		listen = max(listen, f.Listen)
	}
	for listen++; p.taken(listen) != ""; listen++ {
	}
	p.forwards = append(p.forwards, bootstrap.Forward{
		Listen: listen, Methods: []string{http.MethodPost}, Path: healthCheck, Port: port, Target: healthCheck,
		HTTP2: true, TLS: tls, Timeout: timeout,
	})
	return listen
}

// taken says who else needs a port of the pod; empty for nobody.
func (p *probeForwarder) taken(port uint16) string {
	if port == p.config.AdminPort {
		return "the flag envoy-admin-access-port names it"
	}
	listens := func(l meshv1beta2.Listener) bool { return l.PortMapping.Port == int64(port) }
	if slices.Contains(p.capturedPorts(), int(port)) || slices.ContainsFunc(p.target.Node.Spec.Listeners, listens) {
		return fmt.Sprintf("%s has a listener on it, or annotation %s names it", p.target, meshv1beta2.AnnotationPorts)
	}
	if p.owners == nil {
		p.owners = map[int32]string{}
		for _, list := range [][]corev1.Container{p.pod.Spec.Containers, p.pod.Spec.InitContainers} {
			for i := range list {
				for _, declared := range list[i].Ports {
					p.owners[declared.ContainerPort] = list[i].Name
				}
			}
		}
	}
	if owner, ok := p.owners[int32(port)]; ok {
		return fmt.Sprintf("container %s has it", owner)
	}
	return ""
}

// conflict denies a pod that uses the port of rewritten probes itself.
func (p *probeForwarder) conflict() error {
	if !slices.ContainsFunc(p.forwards, func(f bootstrap.Forward) bool { return f.Listen == probePort }) {
		return nil
	}
	if who := p.taken(probePort); who != "" {
		return deny("port %d is where kubelet and Prometheus pass the TLS of %s, but %s; use another port, or set annotation %s to disabled",
			probePort, p.target, who, annotationRewrite)
	}
	return nil
}

// scrape leads Prometheus past the listener of the port that the pod's annotations name.
func (p *probeForwarder) scrape() {
	a := p.pod.Annotations
	port := scrapedPort(a)
	if !slices.Contains(p.ports, port) {
		return
	}
	path := a[annotationScrapePath]
	if path == "" {
		path = defaultScrapePath
	}
	path = "/" + strings.TrimPrefix(path, "/")
	written := map[string]string{annotationScrapePort: fmt.Sprint(probePort), annotationScrapePath: fmt.Sprintf("/metrics/%d%s", port, path)}
	forward := bootstrap.Forward{
		Listen: probePort, Methods: []string{http.MethodGet}, Path: escape(written[annotationScrapePath]), AnyQuery: true,
		Port: port, Target: escape(path),
	}
	if strings.EqualFold(a[annotationScrapeScheme], "https") {
		forward.TLS = p.ownTLS(forward.Port, true)
		written[annotationScrapeScheme] = "http"
	}
	for key := range written {
		if value, ok := a[key]; ok {
			p.originals.Annotations[key] = value
		}
	}
	p.annotate(written)
	p.forwards = append(p.forwards, forward)
}

// escape writes a path as Prometheus sends it.
func escape(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// hostHeader is the host that a probe asks for; empty for the pod's address.
func hostHeader(h *corev1.HTTPGetAction) string {
	for _, header := range h.HTTPHeaders {
		if strings.EqualFold(header.Name, "host") {
			return header.Value
		}
	}
	return ""
}

// requestURI is what kubelet sends for the path of a probe. Source: Kubernetes, pkg/probe/http, formatURL.
func requestURI(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	sent := url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}
	return "/" + strings.TrimPrefix(sent.RequestURI(), "/")
}

package validate

import (
	"net"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func (j *judge) virtualNode(spec *field.Path, o *meshv1beta2.VirtualNode) {
	s := &o.Spec
	j.selector(spec.Child("podSelector"), s.PodSelector)
	if len(s.Listeners) > 0 && s.ServiceDiscovery == nil {
		j.add("N1", spec.Child("serviceDiscovery"), true,
			"ServiceDiscovery missing for VirtualNode-%s; ServiceDiscovery must be specified when a listener is specified: add serviceDiscovery.dns.hostname", shortName(o))
	}
	ports := make([]int64, len(s.Listeners))
	for i := range s.Listeners {
		ports[i] = s.Listeners[i].PortMapping.Port
		j.nodeListener(spec.Child("listeners").Index(i), &s.Listeners[i])
	}
	j.listenerPorts(spec.Child("listeners"), ports, true)
	if d := s.ServiceDiscovery; d != nil {
		j.exactlyOne("U1", spec.Child("serviceDiscovery"), "serviceDiscovery", member{"dns", d.DNS != nil}, member{"awsCloudMap", d.AWSCloudMap != nil})
		if d.DNS != nil {
			j.asciiHost(spec.Child("serviceDiscovery", "dns", "hostname"), d.DNS.Hostname)
			if h := d.DNS.Hostname; strings.Contains(h, ":") && net.ParseIP(h) == nil {
				j.add("X31", spec.Child("serviceDiscovery", "dns", "hostname"), h, "%q is no host name; leave the port out, it is that of the listener", h)
			}
		}
	}
	if d := s.ServiceDiscovery; d != nil && d.DNS != nil && s.PodSelector == nil && CallersOwn(d.DNS.Hostname) {
		j.add("X29", spec.Child("serviceDiscovery", "dns", "hostname"), d.DNS.Hostname,
			"%q is the pod of whoever calls, not this node; name a Service or another host, or give the node a podSelector", d.DNS.Hostname)
	}
	j.backends(spec.Child("backends"), o)
	j.backendDefaults(spec.Child("backendDefaults"), s.BackendDefaults)
	j.logging(spec.Child("logging"), s.Logging)
}

func (j *judge) nodeListener(path *field.Path, l *meshv1beta2.Listener) {
	protocol := l.PortMapping.Protocol
	if p := l.ConnectionPool; p != nil {
		j.perProtocol("N4", "Only one type of Virtual Node Connection Pool is allowed", path.Child("connectionPool"), protocol,
			member{"tcp", p.TCP != nil}, member{"http", p.HTTP != nil}, member{"http2", p.HTTP2 != nil}, member{"grpc", p.GRPC != nil})
	}
	if t := l.Timeout; t != nil {
		j.perProtocol("X5", "Only one type of listener timeout is allowed", path.Child("timeout"), protocol,
			member{"tcp", t.TCP != nil}, member{"http", t.HTTP != nil}, member{"http2", t.HTTP2 != nil}, member{"grpc", t.GRPC != nil})
	}
	if h := l.HealthCheck; h != nil {
		j.healthCheck(path.Child("healthCheck"), healthCheck{h.Protocol, h.Path, h.Port}, l.PortMapping.Port, protocol)
	}
	if l.TLS != nil {
		tls := path.Child("tls")
		j.listenerCertificate(tls, &l.TLS.Certificate)
		j.nodeTrust(tls, l.TLS.Validation)
	}
}

// backends judges every backend and finds those named twice: references by namespace and name, ARNs literally.
func (j *judge) backends(path *field.Path, o *meshv1beta2.VirtualNode) {
	refs, arns := map[types.NamespacedName]bool{}, map[string]bool{}
	for i := range o.Spec.Backends {
		b, at := &o.Spec.Backends[i].VirtualService, path.Index(i).Child("virtualService")
		j.reference(at, meshv1beta2.ARNVirtualService, "U13", "X4B", b.VirtualServiceRef, b.VirtualServiceARN)
		j.clientPolicy(at.Child("clientPolicy"), b.ClientPolicy)
		if b.VirtualServiceRef != nil {
			name := b.VirtualServiceRef.Resolve(o.Namespace)
			if refs[name] {
				j.add("N3", at.Child("virtualServiceRef"), name, "VirtualNode-%s has duplicate VirtualServiceReferences %s; name each VirtualService once", shortName(o), name)
			}
			refs[name] = true
		}
		if arn := b.VirtualServiceARN; arn != nil {
			if arns[*arn] {
				j.add("N3", at.Child("virtualServiceARN"), *arn, "VirtualNode-%s has duplicate VirtualServiceReferenceARNs %s; name each VirtualService once", shortName(o), *arn)
			}
			arns[*arn] = true
		}
	}
}

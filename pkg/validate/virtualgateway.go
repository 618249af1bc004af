package validate

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func (j *judge) virtualGateway(spec *field.Path, s *meshv1beta2.VirtualGatewaySpec) {
	j.selector(spec.Child("namespaceSelector"), s.NamespaceSelector)
	j.selector(spec.Child("gatewayRouteSelector"), s.GatewayRouteSelector)
	j.selector(spec.Child("podSelector"), s.PodSelector)
	ports := make([]int64, len(s.Listeners))
	for i := range s.Listeners {
		ports[i] = s.Listeners[i].PortMapping.Port
		j.gatewayListener(spec.Child("listeners").Index(i), &s.Listeners[i])
	}
	j.listenerPorts(spec.Child("listeners"), ports, true)
	j.backendDefaults(spec.Child("backendDefaults"), s.BackendDefaults)
	j.logging(spec.Child("logging"), s.Logging)
}

func (j *judge) gatewayListener(path *field.Path, l *meshv1beta2.VirtualGatewayListener) {
	protocol := l.PortMapping.Protocol
	if p := l.ConnectionPool; p != nil {
		j.perProtocol("G2", "Only one type of Virtual Gateway Connection Pool is allowed", path.Child("connectionPool"), protocol,
			member{"http", p.HTTP != nil}, member{"http2", p.HTTP2 != nil}, member{"grpc", p.GRPC != nil})
	}
	if h := l.HealthCheck; h != nil {
		j.healthCheck(path.Child("healthCheck"), healthCheck{h.Protocol, h.Path, h.Port}, l.PortMapping.Port, protocol)
		j.add("X28", path.Child("healthCheck"), *h.DeepCopy(), "a gateway's own health check has no effect, because nobody makes it; let the load balancer before the gateway check it")
	}
	if l.TLS != nil {
		tls := path.Child("tls")
		j.listenerCertificate(tls, &l.TLS.Certificate)
		if v := l.TLS.Validation; v != nil {
			j.trust("U6", tls, &v.Trust)
		}
	}
}

package injection

const fargate = "eks.amazonaws.com/fargate-profile"

// redirectCases are about what is redirected, and by whom.
var redirectCases = []Case{
	about("ports", "absent: the listeners", short{"proxyinit.env.APPMESH_APP_PORTS": "8080,9090"}),
	of("ports", "a list", "8080, 7000", short{"proxyinit.env.APPMESH_APP_PORTS": "8080, 7000"}),
	of("ports", "the empty text turns inbound interception off", "", short{"proxyinit.env.APPMESH_APP_PORTS": "", "init": "first,envoy,proxyinit"}),
	of("ports", "a port of the proxy", "8080,15000", nil).warns("lists 15000, a port of the proxy itself"),
	of("ports", "no port", "80a", nil).denies("malformed annotation appmesh.k8s.aws/ports, expected format: port[,port]"),
	about("spec.listeners", "none: inbound traffic is not redirected, outbound is",
		short{"init": "first,envoy,proxyinit", "proxyinit.env.APPMESH_APP_PORTS": "", "proxyinit.env.APPMESH_ENVOY_EGRESS_PORT": "15001"}).labelled(short{"app": "named"}),
	about("egressIgnoredPorts", "absent", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_PORTS": "22"}),
	of("egressIgnoredPorts", "a list", "3306,27017", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_PORTS": "3306,27017"}),
	of("egressIgnoredPorts", "no port", "0", nil).denies("malformed annotation appmesh.k8s.aws/egressIgnoredPorts"),
	about("egressIgnoredIPs", "absent: the flag's", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "169.254.169.254"}).in(namespaceShared),
	of("egressIgnoredIPs", "a list", "10.0.0.0/8,fd00::/8", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "10.0.0.0/8,fd00::/8"}).in(namespaceShared).warns("replaces the default 169.254.169.254"),
	of("egressIgnoredIPs", "the empty text", "", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": ""}).in(namespaceShared),
	of("egressIgnoredIPs", "a name", "db.example", nil).denies("malformed annotation appmesh.k8s.aws/egressIgnoredIPs"),
	about("spec.egressFilter", "DROP_ALL, the default: the API server is reached directly", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "169.254.169.254,{api}"}),
	about("spec.egressFilter", "DROP_ALL with a list", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "10.0.0.0/8,{api}"}).with(short{"egressIgnoredIPs": "10.0.0.0/8"}).warns("replaces the default 169.254.169.254"),
	about("spec.egressFilter", "ALLOW_ALL", short{"proxyinit.env.APPMESH_EGRESS_IGNORED_IP": "169.254.169.254"}).in(namespaceShared),
	about("ipv6", "absent", short{"proxyinit.env.APPMESH_ENABLE_IPV6": "1"}),
	of("ipv6", "disabled", "disabled", short{"proxyinit.env.APPMESH_ENABLE_IPV6": "0"}),
	of("ipv6", "another value has no effect", "Disabled", short{"proxyinit.env.APPMESH_ENABLE_IPV6": "1"}),
	// By the CNI plugin.
	of("appmeshCNI", "enabled, in any case", "Enabled", short{
		"init": "envoy,first", "annotation.ports": "8080,9090", "annotation.egressIgnoredPorts": "22",
		"annotation.egressIgnoredIPs": "169.254.169.254,{api}", "annotation.sidecarInjectorWebhook": "enabled",
	}),
	of("appmeshCNI", "enabled, with annotations of the user's that stay", "enabled", short{"annotation.ports": "8080", "annotation.ipv6": "disabled", "annotation.example.com/kept": "1"}).
		with(short{"ports": "8080", "ipv6": "disabled", "example.com/kept": "1"}),
	of("appmeshCNI", "another value on Fargate", "no", injected).labelled(short{fargate: "fp"}),
	about(fargate, "a profile", short{"init": "envoy,first", "annotation.proxyEgressPort": "15001"}).labelled(short{fargate: "fp"}),
	about(fargate, "an empty one", injected).labelled(short{fargate: ""}),
	of("proxyEgressPort", "overwritten", "1", short{"annotation.proxyEgressPort": "15001"}).with(short{"appmeshCNI": "enabled"}),
	of("proxyEgressPort", "without the plugin it stays and has no effect", "1", short{"annotation.proxyEgressPort": "1", "proxyinit.env.APPMESH_ENVOY_EGRESS_PORT": "15001"}),
	of("proxyIngressPort", "overwritten", "1", short{"annotation.proxyIngressPort": "15000"}).with(short{"appmeshCNI": "enabled"}),
	of("proxyIngressPort", "without the plugin it stays and has no effect", "1", short{"annotation.proxyIngressPort": "1", "proxyinit.env.APPMESH_ENVOY_INGRESS_PORT": "15000"}),
	of("ignoredUID", "overwritten", "1", short{"annotation.ignoredUID": "1337"}).with(short{"appmeshCNI": "enabled"}),
	of("ignoredUID", "without the plugin it stays and has no effect", "1", short{"annotation.ignoredUID": "1", "proxyinit.env.APPMESH_IGNORE_UID": "1337"}),
	of("ignoredGID", "the webhook leaves it to the plugin", "2000", short{"annotation.ignoredGID": "2000", "proxyinit.env.APPMESH_IGNORE_GID": ""}).with(short{"appmeshCNI": "enabled"}),
}

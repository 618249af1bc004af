package injection

import "github.com/aftermesh/aftermesh/pkg/inject/bootstrap"

// writtenCases are about annotations that the webhook writes, over any value of the user's, and about those that mean nothing.
var writtenCases = []Case{
	of("mesh", "has no effect", "other", short{"annotation.mesh": "other", "annotation.aftermesh.dev/node": front}),
	of("virtualNode", "has no effect", "other", short{"annotation.virtualNode": "other", "annotation.aftermesh.dev/node": front}),
	of("aftermesh.dev/node", "written", "mine", short{"annotation.aftermesh.dev/node": front}),
	of("aftermesh.dev/node", "written on a gateway", "mine", short{"annotation.aftermesh.dev/node": ingress}).ofGateway(),
	of("aftermesh.dev/profile", "written", "mine", short{"annotation.aftermesh.dev/profile": `{"ip":"4","v":"{version}","ports":[8080,9090]}`}),
	of("aftermesh.dev/profile", "written for a node without listeners", "mine", short{"annotation.aftermesh.dev/profile": `{"ip":"4","v":"{version}","ports":[]}`}).
		labelled(short{"app": "named"}),
	of("aftermesh.dev/profile", "written on a gateway", "mine", short{"annotation.aftermesh.dev/profile": `{"ip":"4","v":"{version}"}`}).ofGateway(),
	of("aftermesh.dev/xds-credential", "written", "mine", short{"annotation.aftermesh.dev/xds-credential": bootstrap.CredentialSDS("/var/run/aftermesh-xds/token")}),
	of("aftermesh.dev/xds-credential", "written on a gateway", "mine", short{"annotation.aftermesh.dev/xds-credential": bootstrap.CredentialSDS("/var/run/aftermesh-xds/token")}).
		ofGateway(),
	of("aftermesh.dev/bootstrap", "left alone where Envoy gets its bootstrap otherwise", "mine", short{"annotation.aftermesh.dev/bootstrap": "mine", "bootstrap.node": front}),
	of("aftermesh.dev/bootstrap", "written for a gateway with a command of its own", "mine", short{
		"envoy.env.AFTERMESH_BOOTSTRAP": "/var/run/aftermesh-xds/bootstrap.json",
		"envoy.command":                 "/start", "bootstrap.node": ingress,
	}).having(ownCommand).ofGateway().warns("has a command of its own, which must start Envoy with the bootstrap in"),
	of("sidecarStatus", "written", "mine", short{"init": "first,envoy,proxyinit", "status.version": "{version}", "status.node": front}),
	of("sidecarStatus", "written on a gateway", "mine", short{"status.version": "{version}", "status.node": ingress}).ofGateway(),
}

package validate_test

import (
	"strings"
	"testing"

	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/aftermesh/aftermesh/pkg/validate"
)

// change is an update, and the finding it gives, or none.
type change struct {
	about, kind, old, new, rule, message string
}

var changes = []change{
	{"another name", "Mesh", `{awsName: a}`, `{awsName: b}`, "M1", "Mesh update may not change these fields: spec.awsName"},
	{"another name", "VirtualNode", `{awsName: a}`, `{awsName: b}`, "N2", "VirtualNode update may not change these fields: spec.awsName"},
	{"another name", "VirtualService", `{awsName: a}`, `{awsName: b}`, "S1", "VirtualService update may not change these fields: spec.awsName"},
	{"another name", "VirtualRouter", `{awsName: a, listeners: [{portMapping: {port: 1, protocol: tcp}}]}`, `{awsName: b, listeners: [{portMapping: {port: 1, protocol: tcp}}]}`, "R1", "VirtualRouter update may not change these fields: spec.awsName"},
	{"another name", "VirtualGateway", `{awsName: a}`, `{awsName: b}`, "G1", "VirtualGateway update may not change these fields: spec.awsName"},
	{"another name", "GatewayRoute", `{awsName: a, ` + in(gwHTTP, `prefix: /`)[1:], `{awsName: b, ` + in(gwHTTP, `prefix: /`)[1:], "T1", "GatewayRoute update may not change these fields: spec.awsName"},
	{"another gateway and mesh", "GatewayRoute", `{meshRef: {name: m, uid: "1"}, virtualGatewayRef: {name: a, uid: "1"}, ` + in(gwHTTP, `prefix: /`)[1:], `{virtualGatewayRef: {name: b, uid: "2"}, ` + in(gwHTTP, `prefix: /`)[1:],
		"T1", "these fields: spec.meshRef,spec.virtualGatewayRef"},
	{"the same gateway with its namespace written out", "GatewayRoute", `{virtualGatewayRef: {name: a, uid: "1"}, ` + in(gwHTTP, `prefix: /`)[1:], `{virtualGatewayRef: {name: a, uid: "1", namespace: ns}, ` + in(gwHTTP, `prefix: /`)[1:], "", ""},
	{"a gateway taken away", "GatewayRoute", `{virtualGatewayRef: {name: a, uid: "1"}, ` + in(gwHTTP, `prefix: /`)[1:], in(gwHTTP, `prefix: /`), "T1", "spec.virtualGatewayRef"},
	{"another router", "Route", `{virtualRouterRef: {name: a}, tcpRoute: {` + targets + `}}`, `{virtualRouterRef: {name: b}, tcpRoute: {` + targets + `}}`, "P1", "Route update may not change these fields: spec.virtualRouterRef"},
	{"another mesh", "BackendGroup", `{meshRef: {name: m, uid: "1"}}`, `{meshRef: {name: m, uid: "2"}}`, "B1", "BackendGroup update may not change these fields: spec.meshRef"},
	{"a mesh filled in", "BackendGroup", `{}`, `{meshRef: {name: m, uid: "2"}}`, "", ""},
	{"the default name filled in", "VirtualNode", `{}`, `{awsName: x_ns}`, "", ""},
	{"another name than the default filled in", "VirtualNode", `{}`, `{awsName: y}`, "N2", "spec.awsName"},
	{"from Cloud Map to DNS", "VirtualNode", `{serviceDiscovery: {awsCloudMap: {namespaceName: n, serviceName: s}}}`, `{serviceDiscovery: {dns: {hostname: h}}}`, "", ""},
	{"listeners and discovery both removed", "VirtualNode", in(node, ""), `{}`, "", ""},
	{"selectors, egress and owner may change", "Mesh", `{}`, `{namespaceSelector: {}, egressFilter: {type: ALLOW_ALL}}`, "", ""},
	{"another kind of gateway route", "GatewayRoute", in(gwHTTP, `prefix: /`), in(gwGRPC, `serviceName: s`), "", ""},
	{"an old fault with the same value stays", "VirtualNode", in(log, `text: a, json: [{key: a, value: b}]`), `{awsName: x_ns, ` + in(log, `text: a, json: [{key: a, value: b}]`)[1:], "", ""},
	{"an old fault with another value", "VirtualNode", in(log, `text: a, json: [{key: a, value: b}]`), in(log, `text: b, json: [{key: a, value: b}]`), "U9", "json and text"},
	{"a new fault beside an old one", "VirtualNode", in(backend, `virtualServiceARN: testARN`), in(backend, `virtualServiceARN: testARN, clientPolicy: {tls: {validation: {trust: {}}}}`), "U7", "trust"},
	{"the same fault once more", "VirtualNode", in(node, in(certs, ``)), `{serviceDiscovery: {dns: {hostname: h}}, listeners: [{portMapping: {port: 80, protocol: http}` + in(certs, ``) + `}, {portMapping: {port: 81, protocol: http}` + in(certs, ``) + `}]}`, "U5", "certificate"},
	{"an old warning is not repeated", "GatewayRoute", in(gwHTTP, `prefix: testPrefix`), in(gwHTTP, `prefix: testPrefix, method: GET`), "", ""},
}

func TestChanges(t *testing.T) {
	for _, c := range changes {
		t.Run(c.kind+": "+c.about, func(t *testing.T) {
			old, now := object(t, c.kind, c.old), object(t, c.kind, c.new)
			before := old.DeepCopyObject()
			findings := validate.Object(now, old)
			if c.rule == "" {
				if len(findings) != 0 {
					t.Errorf("found %v", findings)
				}
			} else if len(findings) != 1 || findings[0].Rule.ID != c.rule || !strings.Contains(findings[0].Message, c.message) {
				t.Errorf("want %s, %s; got %v", c.rule, c.message, findings)
			}
			if !apiequality.Semantic.DeepEqual(before, old) {
				t.Error("the old object was modified")
			}
		})
	}
}

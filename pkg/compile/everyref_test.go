package compile

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// TestEveryReferenceThatLeadsNowhereIsUnresolved goes through all reference fields of all kinds: the object that has the reference
// says so, whether anybody uses the object or not.
func TestEveryReferenceThatLeadsNowhereIsUnresolved(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:appmesh:eu:1:mesh/m/"
	const target = "action: {weightedTargets: [{weight: 1, "
	const gatewayTarget = "match: {prefix: /}, action: {target: {virtualService: {"
	for _, c := range []struct{ name, kind, spec, path, names string }{
		{"a backend", "VirtualNode", "backends: [{virtualService: {virtualServiceRef: {name: gone}}}]", "spec.backends[0]", "gone"},
		{"a backend by ARN", "VirtualNode", "backends: [{virtualService: {virtualServiceARN: '" + arn + "virtualService/gone'}}]", "spec.backends[0]", "gone"},
		{"a backend in another namespace", "VirtualNode", "backends: [{virtualService: {virtualServiceRef: {name: gone, namespace: other}}}]", "spec.backends[0]", "other/gone"},
		{"a backend group", "VirtualNode", "backendGroups: [{name: gone}]", "spec.backendGroups[0]", "gone"},
		{"a member of a group", "BackendGroup", "virtualservices: [{name: gone}]", "spec.virtualservices[0]", "gone"},
		{"a service's node", "VirtualService", "provider: {virtualNode: {virtualNodeRef: {name: gone}}}", "spec.provider", "gone"},
		{"a service's node by ARN", "VirtualService", "provider: {virtualNode: {virtualNodeARN: '" + arn + "virtualNode/gone'}}", "spec.provider", "gone"},
		{"a service's router", "VirtualService", "provider: {virtualRouter: {virtualRouterRef: {name: gone}}}", "spec.provider", "gone"},
		{"a service's router by ARN", "VirtualService", "provider: {virtualRouter: {virtualRouterARN: '" + arn + "virtualRouter/gone'}}", "spec.provider", "gone"},
		{"an http target", "VirtualRouter", "listeners: [{portMapping: {port: 80, protocol: http}}], routes: [{name: r, httpRoute: {match: {prefix: /}, " + target + "virtualNodeRef: {name: gone}}]}}}]", "spec.routes[0]", "gone"},
		{"an http2 target", "VirtualRouter", "listeners: [{portMapping: {port: 80, protocol: http2}}], routes: [{name: r, http2Route: {match: {prefix: /}, " + target + "virtualNodeRef: {name: gone}}]}}}]", "spec.routes[0]", "gone"},
		{"a grpc target", "VirtualRouter", "listeners: [{portMapping: {port: 80, protocol: grpc}}], routes: [{name: r, grpcRoute: {match: {}, " + target + "virtualNodeRef: {name: gone}}]}}}]", "spec.routes[0]", "gone"},
		{"a tcp target", "VirtualRouter", "listeners: [{portMapping: {port: 80, protocol: tcp}}], routes: [{name: r, tcpRoute: {" + target + "virtualNodeRef: {name: gone}}]}}}]", "spec.routes[0]", "gone"},
		{"a target by ARN", "VirtualRouter", "listeners: [{portMapping: {port: 80, protocol: tcp}}], routes: [{name: r, tcpRoute: {" + target + "virtualNodeARN: '" + arn + "virtualNode/gone'}]}}}]", "spec.routes[0]", "gone"},
		{"the target of a Route", "Route", "virtualRouterRef: {name: r}, tcpRoute: {" + target + "virtualNodeRef: {name: gone}}]}}", "spec.tcpRoute", "gone"},
		{"a Route's router", "Route", "virtualRouterRef: {name: gone}, tcpRoute: {" + target + "virtualNodeRef: {name: v}}]}}", "spec.virtualRouterRef", "gone"},
		{"the target of an http gateway route", "GatewayRoute", "httpRoute: {" + gatewayTarget + "virtualServiceRef: {name: gone}}}}}", "spec.httpRoute", "gone"},
		{"the target of an http2 gateway route", "GatewayRoute", "http2Route: {" + gatewayTarget + "virtualServiceRef: {name: gone}}}}}", "spec.http2Route", "gone"},
		{"the target of a grpc gateway route", "GatewayRoute", "grpcRoute: {" + strings.Replace(gatewayTarget, "prefix: /", "serviceName: s", 1) + "virtualServiceRef: {name: gone}}}}}", "spec.grpcRoute", "gone"},
		{"the target of a gateway route by ARN", "GatewayRoute", "httpRoute: {" + gatewayTarget + "virtualServiceARN: '" + arn + "virtualService/gone'}}}}", "spec.httpRoute", "gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := &input.Objects{
				Config: []input.Object{
					&meshv1beta2.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: meshv1beta2.MeshSpec{NamespaceSelector: &metav1.LabelSelector{}}},
					parse(t, &meshv1beta2.VirtualRouter{}, "r", "listeners: [{portMapping: {port: 80, protocol: tcp}}]"),
					parse(t, &meshv1beta2.VirtualGateway{}, "g",
						"namespaceSelector: {}, listeners: [{portMapping: {port: 81, protocol: "+gatewayProtocol(c.spec)+"}}]"),
					parse(t, meshv1beta2.NewObject(c.kind), "x", c.spec),
				},
				Settings: input.Settings{BackendGroups: true},
			}
			problems := new(Compiler).Compile(o).Problems
			for _, p := range problems {
				if p.Object == input.AppMesh(c.kind, "ns", "x") && p.Severity == mesh.Unresolved &&
					strings.HasPrefix(p.Path, c.path) && strings.Contains(p.Message, c.names) {
					return
				}
			}
			t.Errorf("nothing is unresolved at %s: %+v", c.path, problems)
		})
	}
}

// gatewayProtocol is what a gateway must speak for a gateway route.
func gatewayProtocol(spec string) string {
	for _, p := range []string{"http2", "grpc"} {
		if strings.HasPrefix(spec, p) {
			return p
		}
	}
	return "http"
}

// parse makes an object of a specification in YAML.
func parse[T meshv1beta2.Object](t *testing.T, o T, name, spec string) T {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte("{metadata: {name: "+name+", namespace: ns}, spec: {"+spec+"}}"), o); err != nil {
		t.Fatal(err)
	}
	return o
}

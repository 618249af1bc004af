package pipeline_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// shared is a mesh of two tenants: bank's gateway takes routes of every namespace, and bank's caller calls a service of evil's, so that
// names of both meet in the proxies of bank. Evil's objects are the older ones. What stands in brackets is a name that evil chooses.
const shared = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {}, egressFilter: {type: ALLOW_ALL}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: n, namespace: evil, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  awsName: "[node]"
  listeners:
  - {portMapping: {port: 8080, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "[arn]"}}}}
  - {portMapping: {port: 8081, protocol: http}, tls: {mode: STRICT, certificate: {sds: {secretName: "[sds]"}}}}
  serviceDiscovery: {dns: {hostname: n.evil.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: r, namespace: evil, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  routes: [{name: "[route]", httpRoute: {match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {name: n}, weight: 1, port: 8080}]}}}]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: s, namespace: evil, creationTimestamp: "2020-01-01T00:00:00Z"}
spec: {awsName: "[service]", provider: {virtualRouter: {virtualRouterRef: {name: r}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: g, namespace: evil, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  awsName: "[gatewayroute]"
  httpRoute: {match: {prefix: /, hostname: {exact: "[host]"}}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: h, namespace: evil, creationTimestamp: "2020-01-01T00:00:00Z"}
spec: {httpRoute: {match: {prefix: /, hostname: {suffix: "[suffix]"}}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}, rewrite: {hostname: {defaultTargetHostname: DISABLED}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: gw, namespace: bank, creationTimestamp: "2022-01-01T00:00:00Z"}
spec: {namespaceSelector: {}, listeners: [{portMapping: {port: 8088, protocol: http}}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: shop, namespace: bank, creationTimestamp: "2022-01-01T00:00:00Z"}
spec: {httpRoute: {match: {prefix: /, hostname: {exact: shop.bank.example}}, action: {target: {virtualService: {virtualServiceRef: {name: pay}}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: any, namespace: bank, creationTimestamp: "2022-01-01T00:00:00Z"}
spec: {httpRoute: {match: {prefix: /any/}, action: {target: {virtualService: {virtualServiceRef: {name: pay}}}, rewrite: {hostname: {defaultTargetHostname: DISABLED}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: pay, namespace: bank, creationTimestamp: "2022-01-01T00:00:00Z"}
spec: {awsName: pay.bank, provider: {virtualNode: {virtualNodeRef: {name: pay}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: pay, namespace: bank, creationTimestamp: "2022-01-01T00:00:00Z"}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "arn:aws:acm:r:1:certificate/pay"}}}}]
  serviceDiscovery: {dns: {hostname: pay.bank.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: caller, namespace: bank, creationTimestamp: "2022-01-01T00:00:00Z"}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  backends: [{virtualService: {virtualServiceRef: {name: pay}, clientPolicy: {tls: {validation: {trust: {acm: {certificateAuthorityARNs: ["arn:a", "arn:b"]}}}}}}}, {virtualService: {virtualServiceRef: {name: s, namespace: evil}}}]
  serviceDiscovery: {dns: {hostname: caller.bank.svc.cluster.local}}
`

// fields are what evil chooses, with a harmless value for each.
var fields = map[string]string{
	"node": "zz-node", "arn": "arn:aws:acm:r:1:certificate/zz", "sds": "zz-sds", "route": "zz-route", "service": "zz-service.evil",
	"gatewayroute": "zz-gatewayroute", "host": "zz-host.evil.example", "suffix": "-zz-suffix.evil.example",
}

// internal are names that stand in the configuration of bank's proxies, or could, and are not bank's own.
func internal(base *pipeline.Snapshot) []string {
	out := []string{
		"self_redirect", "default_backend", "mesh_allow_all", "self_redirect/host", "mesh-allow-all", "amazonaws", "blackhole", "unresolved",
		"unavailable", "closed", "egress", "ingress", "m_unresolved", "pay.bank:15001", "pay.bank:8080", "shop.bank.example:8088", "*", "*.bank",
		"arn:a,arn:b", "fileca:x", "static_cluster_sds_unix_socket", "pay_bank?draining", "caller_bank?sds", "pay_bank%3Fsds",
		"x-app-mesh-virtual-service", "Self_Redirect", "PAY.BANK:8080", "aftermesh",
	}
	for _, set := range base.Sets {
		for _, t := range []string{xds.ClusterType, xds.EndpointType, xds.SecretType, xds.ListenerType, xds.RouteType} {
			for _, r := range set.Resources(t) {
				if !strings.Contains(r.Name, "zz") {
					out = append(out, r.Name)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func stepShared(t *testing.T, values map[string]string) *pipeline.Snapshot {
	t.Helper()
	manifests := shared
	for field, value := range values {
		manifests = strings.ReplaceAll(manifests, "["+field+"]", value)
	}
	in, err := source.ReadFiles([]string{"-"}, "default", strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	in.Objects.Settings.Offline = true
	s := pipeline.New(nil, time.Now).Step(&in.Objects)
	for group, err := range s.Failed {
		t.Fatalf("group %s: %v", group, err)
	}
	return s
}

// banks returns the bytes of everything in the proxies of bank that is not evil's: every resource, and every virtual host by itself.
func banks(t *testing.T, s *pipeline.Snapshot, evil map[string]string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, group := range []string{"mesh/m/virtualNode/pay_bank", "mesh/m/virtualNode/caller_bank", "mesh/m/virtualGateway/gw_bank"} {
		set := s.Sets[group]
		if set == nil {
			t.Fatalf("the proxies of %s get nothing", group)
		}
		for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.SecretType, xds.ListenerType, xds.RouteType} {
			for _, r := range set.Resources(typeURL) {
				m, err := r.Message()
				if err != nil {
					t.Fatal(err)
				}
				for name, part := range parts(m, r.Name) {
					b, err := proto.MarshalOptions{Deterministic: true}.Marshal(part)
					if err != nil {
						t.Fatal(err)
					}
					// What leads to evil's own objects carries their names.
					if !mentions(b, evil) {
						out[group+" "+name] = b
					}
				}
			}
		}
	}
	return out
}

func mentions(b []byte, values map[string]string) bool {
	for _, v := range values {
		if strings.Contains(v, "zz") && bytes.Contains(b, []byte(v)) {
			return true
		}
	}
	return false
}

func parts(m proto.Message, name string) map[string]proto.Message {
	rc, ok := m.(*routev3.RouteConfiguration)
	if !ok {
		return map[string]proto.Message{name: m}
	}
	out := map[string]proto.Message{}
	for _, h := range rc.VirtualHosts {
		out[name+" "+h.Name] = h
	}
	return out
}

// TestNamesThatUsersChooseNeverMeetOurs gives every name that a tenant can choose the value of every name in use inside: whatever it
// is, the other tenant's proxies have all that they had, byte for byte.
func TestNamesThatUsersChooseNeverMeetOurs(t *testing.T) {
	t.Parallel()
	base := stepShared(t, fields)
	want := banks(t, base, fields)
	names := internal(base)
	if len(want) < 15 || len(names) < 30 {
		t.Fatalf("only %d parts and %d names: they prove little", len(want), len(names))
	}
	for field := range fields {
		for _, name := range names {
			if field == "suffix" && name == "*" {
				continue // that is a route for all hosts, so bank's hosts have it too, behind their own
			}
			values := map[string]string{}
			for k, v := range fields {
				values[k] = v
			}
			values[field] = name
			got := banks(t, stepShared(t, values), values)
			for part, b := range want {
				if !bytes.Equal(got[part], b) {
					t.Errorf("%s named %q: %s", field, name, map[bool]string{true: "is gone", false: "differs"}[got[part] == nil]+" "+part)
				}
			}
		}
	}
	t.Log(fmt.Sprint(len(names), " names in ", len(fields), " fields, ", len(want), " parts compared"))
}

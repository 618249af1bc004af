package source

import (
	"fmt"
	"strings"
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// front begins a VirtualNode with a listener that goes on.
const front = `{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualNode, metadata: {name: v, namespace: shop}, spec: {
 serviceDiscovery: {dns: {hostname: v.shop}}, listeners: [{portMapping: {port: 8080, protocol: http}`

// all begins a VirtualRouter with a route that goes on.
const all = `{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualRouter, metadata: {name: r, namespace: shop}, spec: {
 listeners: [{portMapping: {port: 8080, protocol: http}}], routes: [{name: all, httpRoute: {match: {prefix: /}, `

func TestWhatTheSchemaRefusesIsAFaultWithPathAndAllowedValues(t *testing.T) {
	t.Parallel()
	const target = `action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: 1}]}`
	const at = "spec.routes[0].httpRoute."
	for _, c := range []struct{ name, object, path, message string }{
		{"a weight above 100", all + `action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: 200}]}}}]}}`,
			at + "action.weightedTargets[0].weight", "Invalid value: 200: should be less than or equal to 100"},
		{"a weight below 0", all + `action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: -1}]}}}]}}`,
			at + "action.weightedTargets[0].weight", "Invalid value: -1: should be greater than or equal to 0"},
		{"a unit that does not exist", all + target + `, timeout: {idle: {unit: sec, value: 1}}}}]}}`,
			at + "timeout.idle.unit", `Unsupported value: "sec": supported values: "s", "ms"`},
		{"a negative timeout", all + target + `, timeout: {idle: {unit: s, value: -1}}}}]}}`,
			at + "timeout.idle.value", "Invalid value: -1: should be greater than or equal to 0"},
		{"misspelled retry events", all + target + `, retryPolicy: {maxRetries: 1, perRetryTimeout: {unit: s, value: 1}, httpRetryEvents: [server-errors]}}}]}}`,
			at + "retryPolicy.httpRetryEvents[0]", `Unsupported value: "server-errors": supported values: "server-error"`},
		{"a misspelled egress filter", `{apiVersion: appmesh.k8s.aws/v1beta2, kind: Mesh, metadata: {name: m}, spec: {egressFilter: {type: ALLOWALL}}}`,
			"spec.egressFilter.type", `Unsupported value: "ALLOWALL": supported values: "ALLOW_ALL", "DROP_ALL"`},
		{"a field in another case", strings.Replace(front, "hostname", "hostName", 1) + `}]}}`, "spec.serviceDiscovery.dns.hostname", "Required value"},
		{"half a health check", front + `, healthCheck: {protocol: http}}]}}`, "spec.listeners[0].healthCheck.healthyThreshold", "Required value"},
		{"a number as text", strings.Replace(front, "8080", `"8080"`, 1) + `}]}}`, "spec.listeners[0].portMapping.port", `must be of type integer: "string"`},
		{"a name that is none", strings.Replace(front, "name: v,", "name: V_1,", 1) + `}]}}`, "metadata.name", "a lowercase RFC 1123 subdomain"},
		{"a label that is no text", strings.Replace(front, "name: v,", "name: v, labels: {on: yes},", 1) + `}]}}`, "metadata.labels", "has a bool where a string belongs; put it in quotes if it is meant as text"},
		{"a rule of our own kinds", `{apiVersion: aftermesh.dev/v1alpha1, kind: MeshSettings, metadata: {name: m}, spec: {certificates: [{secretName: x}]}}`,
			"spec.certificates[0]", "exactly one of arn and sdsName must be given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := read(t, c.object)
			var found bool
			for _, fault := range f.Faults {
				found = found || fault.Path == c.path && strings.Contains(fault.Message, c.message)
			}
			if !found {
				t.Errorf("faults %q, want one of %s: %s", f.Faults, c.path, c.message)
			}
			for range input.All[meshv1beta2.Object](&f.Objects) {
				t.Error("the object is taken")
			}
		})
	}
}

func TestUnknownFieldsAreLeftOutWithAWarning(t *testing.T) {
	t.Parallel()
	f := read(t, front+`, tls: {mode: DISABLED, certificate: {file: {certificateChain: a, privateKey: b}}, enforced: true}}], tracing: {x: 1}}}`)
	if len(f.Faults) > 0 || len(input.Of[*meshv1beta2.VirtualNode](&f.Objects)) != 1 {
		t.Fatalf("%d nodes, faults %v", len(input.Of[*meshv1beta2.VirtualNode](&f.Objects)), f.Faults)
	}
	want := []string{
		"-:2: VirtualNode shop/v: spec.listeners[0].tls.enforced: unknown field, ignored; remove it",
		"-:2: VirtualNode shop/v: spec.tracing: unknown field, ignored; remove it",
	}
	if got := fmt.Sprint(f.Warnings); got != fmt.Sprint(want) {
		t.Errorf("warnings %s, want %s", got, want)
	}
	near := read(t, strings.Replace(front, "protocol: http", "protocol: http, Port: 1", 1)+`}]}}`)
	if len(near.Warnings) != 1 || near.Warnings[0].Message != "unknown field, ignored; did you mean port?" {
		t.Errorf("warnings %v, want the field that was meant", near.Warnings)
	}
}

func TestAFieldBesideSpecIsNotSilentlyIgnored(t *testing.T) {
	t.Parallel()
	f := read(t, `{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualService, metadata: {name: s, namespace: shop}, spce: {awsName: s.shop.svc.cluster.local}}`)
	const want = "-:1: VirtualService shop/s: spce: unknown field, ignored; did you mean spec?"
	if len(f.Warnings) != 1 || fmt.Sprint(f.Warnings[0]) != want {
		t.Errorf("warnings %v, want %s", f.Warnings, want)
	}
}

func TestReferencesOfAnExportAreJudgedAsTheWebhookDoes(t *testing.T) {
	t.Parallel()
	const world = `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {mesh: m}}}
---
{apiVersion: appmesh.k8s.aws/v1beta2, kind: Mesh, metadata: {name: m}, spec: {namespaceSelector: {matchLabels: {mesh: m}}}}
---
{apiVersion: appmesh.k8s.aws/v1beta2, kind: Mesh, metadata: {name: other, uid: u}, spec: {namespaceSelector: {matchLabels: {mesh: other}}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: cart, labels: {mesh: other}}}
---
{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualGateway, metadata: {name: g, namespace: shop}, spec: {namespaceSelector: {}, listeners: [{portMapping: {port: 8088, protocol: http}}]}}
---
`
	const node = `{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualNode, metadata: {name: v, namespace: %s}, spec: {meshRef: %s}}`
	const route = `{apiVersion: appmesh.k8s.aws/v1beta2, kind: GatewayRoute, metadata: {name: v, namespace: shop}, spec: {virtualGatewayRef: %s,
 httpRoute: {match: {prefix: /}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}}}`
	const readOnly = "create may not specify read-only field: spec."
	for _, c := range []struct{ name, object, fault, warning string }{
		{"the same mesh", fmt.Sprintf(node, "shop", "{name: m}"), "", ""},
		{"the same mesh with its UID", fmt.Sprintf(node, "cart", "{name: other, uid: u}"), "", ""},
		{"the mesh of another life", fmt.Sprintf(node, "cart", "{name: other, uid: w}"), readOnly + "meshRef; remove it, the object joins mesh other", ""},
		{"a UID that nobody here knows", fmt.Sprintf(node, "shop", "{name: m, uid: w}"), "", "unless its Mesh m has uid w"},
		{"another mesh", fmt.Sprintf(node, "shop", "{name: other}"), readOnly + "meshRef; remove it, the object joins mesh m", ""},
		{"a mesh that is not there", fmt.Sprintf(node, "shop", "{name: gone, uid: x}"), readOnly + "meshRef; remove it, the object joins mesh m", ""},
		{"the same gateway", fmt.Sprintf(route, "{name: g, namespace: shop}"), "", ""},
		{"another gateway", fmt.Sprintf(route, "{name: h, namespace: shop}"), readOnly + "virtualGatewayRef; remove it, the route is attached to shop/g", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := read(t, world+c.object)
			f.Admit()
			if got := fmt.Sprint(f.Faults); (c.fault == "") != (len(f.Faults) == 0) || !strings.Contains(got, c.fault) {
				t.Errorf("faults %s, want %q", got, c.fault)
			}
			if got := fmt.Sprint(f.Warnings); (c.warning == "") != (len(f.Warnings) == 0) || !strings.Contains(got, c.warning) {
				t.Errorf("warnings %s, want %q", got, c.warning)
			}
		})
	}
}

func TestKustomizationsAreSkipped(t *testing.T) {
	t.Parallel()
	f := &Files{Skipped: map[string]int{}}
	f.read("overlay/kustomization.yaml", []byte("resources: [manifest.yaml]\n"), "shop")
	if len(f.Faults) > 0 || f.Skipped[Kustomization] != 1 {
		t.Errorf("faults %v, skipped %v", f.Faults, f.Skipped)
	}
}

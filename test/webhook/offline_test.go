package webhook

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/source"
)

// offline compares what the offline verbs say of objects with what the API server says of the same ones: which fields it does not
// know, and what it refuses, with path and words.
func (e *environment) offline(t *testing.T) {
	const world = `{apiVersion: v1, kind: Namespace, metadata: {name: ns, labels: {mesh: m}}}
---
{apiVersion: appmesh.k8s.aws/v1beta2, kind: Mesh, metadata: {name: m}, spec: {namespaceSelector: {matchLabels: {mesh: m}}}}
---
{apiVersion: appmesh.k8s.aws/v1beta2, kind: VirtualGateway, metadata: {name: g, namespace: ns}, spec: {namespaceSelector: {}}}
---
`
	const node = `kind: VirtualNode, metadata: {name: o, namespace: ns}, spec: `
	const router = `kind: VirtualRouter, metadata: {name: o, namespace: ns}, spec: {listeners: [{portMapping: {port: 80, protocol: http}}], routes: [{name: r, httpRoute: {match: {prefix: /}, `
	const action = `action: {weightedTargets: [{virtualNodeRef: {name: v}, weight: 1}]}`
	for _, manifest := range []string{
		`kind: Mesh, metadata: {name: o}, spec: {egressFilter: {type: ALLOWALL}, tracing: {a: b}}`,
		`kind: Mesh, metadata: {name: o, namespace: ns}`,
		`kind: Mesh, metadata: {name: O_1}`,
		`kind: Mesh, metadata: {name: o, labels: {"a b": c}}`,
		node + `{}`,
		node + `{meshRef: {name: m}}`,
		node + `{meshRef: {name: other}}`,
		node + `{listeners: [{portMapping: {port: 0, protocol: htp}}], serviceDiscovery: {dns: {hostName: x}}}`,
		node + `{listeners: [{portMapping: {port: "80", protocol: http}, healthCheck: {protocol: http}}], serviceDiscovery: {dns: {hostname: x}}}`,
		node + `{listeners: [{portMapping: {port: 80, protocol: http}, timeout: {http: {idle: {unit: sec, value: -1}}}}], serviceDiscovery: {dns: {hostname: x}}}`,
		node + `{backendDefaults: {clientPolicy: {tls: {mode: STRICT, enforce: true, validation: {trust: {file: {certificateChain: /a}}}}}}}`,
		node + `{backends: [{virtualService: null}], Listeners: []}`,
		router + action + `}}]}`,
		router + strings.Replace(action, "weight: 1", "weight: 200", 1) + `}}]}`,
		router + strings.Replace(action, "weight: 1", "weight: -1", 1) + `}}]}`,
		router + action + `, retryPolicy: {maxRetries: -1, perRetryTimeout: {unit: s, value: 1}, httpRetryEvents: [server-errors, gateway-error]}}}]}`,
		router + action + `, retryPolicy: {maxRetries: 1, perRetryTimeout: {unit: s, value: 1}, httpRetryEvents: []}}}]}`,
		`kind: GatewayRoute, metadata: {name: o, namespace: ns}, spec: {priority: 5000, httpRoute: {match: {prefix: /, hostname: {exact: ""}}, action: {target: {virtualService: {}}}}}`,
		`kind: Route, metadata: {name: o, namespace: ns}, spec: {virtualRouterRef: {name: ""}}`,
		`kind: BackendGroup, metadata: {name: o, namespace: ns}, spec: {virtualservices: {name: x}}`,
		`kind: VirtualService, metadata: {namespace: ns}`,
		`kind: VirtualService, metadata: {name: o, namespace: ns, finalizer: x}, spec: {provider: {virtualNode: {virtualNodeRef: {Name: v}}}}`,
	} {
		e.warnings.Clear()
		err := e.client.Create(t.Context(), parse(t, "{"+manifest+"}"), client.DryRunAll, client.FieldValidation("Warn"))
		files, readErr := source.ReadFiles([]string{"-"}, "default", strings.NewReader(world+"{apiVersion: appmesh.k8s.aws/v1beta2, "+manifest+"}"))
		if readErr != nil {
			t.Fatal(readErr)
		}
		files.Admit()
		if diff := cmp.Diff(causes(err), faultsOf(files.Faults)); diff != "" {
			t.Errorf("%s (-API server +offline):\n%s\n%v", manifest, diff, err)
		}
		if diff := cmp.Diff(unknownFields(e.warnings.String()), unknownOf(files.Warnings)); diff != "" {
			t.Errorf("%s (-API server +offline):\n%s", manifest, diff)
		}
	}
}

// causes are the paths and words with which a request was refused, sorted; for a webhook its words.
func causes(err error) []string {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		_, words, _ := strings.Cut(err.Error(), "denied the request: ")
		return []string{words}
	}
	var out []string
	for _, c := range status.Status().Details.Causes {
		// The words of the schema repeat the path.
		out = append(out, c.Field+": "+strings.Replace(c.Message, c.Field+" in body ", "", 1))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func faultsOf(faults []source.Fault) []string {
	var out []string
	for _, f := range faults {
		if f.Reason == source.ReasonReadOnlyField {
			out = append(out, f.Message)
			continue
		}
		out = append(out, f.Path+": "+f.Message)
	}
	slices.Sort(out)
	return out
}

// unknownFields are the paths in warnings about unknown fields, sorted.
func unknownFields(warnings string) []string {
	var out []string
	for line := range strings.Lines(warnings) {
		if _, rest, ok := strings.Cut(line, `unknown field "`); ok {
			path, _, _ := strings.Cut(rest, `"`)
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

func unknownOf(warnings []source.Fault) []string {
	var out []string
	for _, w := range warnings {
		out = append(out, w.Path)
	}
	slices.Sort(out)
	return out
}

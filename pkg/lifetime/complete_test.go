package lifetime_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

const selecting = `{kind: Mesh, metadata: {name: m, uid: m, finalizers: [` + mem + `, ` + res + `]}, spec: {awsName: m, namespaceSelector: {matchLabels: {mesh: m}}}}`

func TestIncomplete(t *testing.T) {
	t.Parallel()
	gateway := `{kind: VirtualGateway, metadata: {name: g, namespace: ns, uid: g}, spec: {` + ref + `, awsName: g_ns, namespaceSelector: {}}}`
	for _, c := range []struct {
		about   string
		objects []string
		// want has one line per object: the mesh's UID, the name, the gateway and what is replaced.
		want []string
	}{
		{"complete objects", []string{selecting, gateway, `{kind: VirtualNode, metadata: {name: a, namespace: ns}, spec: {` + ref + `, awsName: x}}`}, nil},
		{"every kind that lacks everything", []string{
			`{kind: Mesh, metadata: {name: m, uid: m}, spec: {namespaceSelector: {matchLabels: {mesh: m}}}}`,
			`{kind: VirtualNode, metadata: {name: a, namespace: ns}}`, `{kind: VirtualService, metadata: {name: a, namespace: ns}}`,
			`{kind: VirtualRouter, metadata: {name: a, namespace: ns}, spec: {awsName: ""}}`, `{kind: VirtualGateway, metadata: {name: a, namespace: ns}}`,
			`{kind: GatewayRoute, metadata: {name: a, namespace: ns}}`, `{kind: BackendGroup, metadata: {name: a, namespace: ns}}`, `{kind: Route, metadata: {name: a, namespace: ns}}`,
		}, []string{
			"Mesh m: name m", "VirtualNode ns/a: mesh m, name a_ns", "VirtualService ns/a: mesh m, name a.ns", "VirtualRouter ns/a: mesh m, name a_ns",
			"VirtualGateway ns/a: mesh m, name a_ns", "GatewayRoute ns/a: mesh m, name a_ns", "BackendGroup ns/a: mesh m",
		}},
		{"a route joins the gateway that selects it", []string{selecting, gateway, `{kind: GatewayRoute, metadata: {name: a, namespace: ns}, spec: {` + ref + `, awsName: x}}`},
			[]string{"GatewayRoute ns/a: gateway ns/g g"}},
		{"a route whose gateway was recreated", []string{selecting, gateway, `{kind: GatewayRoute, metadata: {name: a, namespace: ns}, spec: {` + ref + `, awsName: x, virtualGatewayRef: {name: g, uid: old}}}`},
			[]string{"GatewayRoute ns/a: gateway ns/g g, in place of ns/g old"}},
		{"an object whose mesh was recreated", []string{selecting, `{kind: VirtualNode, metadata: {name: a, namespace: ns}, spec: {awsName: x, meshRef: {name: m, uid: old}}}`},
			[]string{"VirtualNode ns/a: mesh m, in place of /m old"}},
		{"no mesh selects the namespace", []string{aMesh, `{kind: VirtualNode, metadata: {name: a, namespace: ns}, spec: {awsName: x}}`}, []string{"Mesh m: name m"}},
		{"a namespace that is not known", []string{selecting, `{kind: VirtualNode, metadata: {name: a, namespace: other}, spec: {awsName: x}}`}, nil},
		{"a mesh that is being deleted takes no members", []string{deleted(selecting), `{kind: VirtualNode, metadata: {name: a, namespace: ns}, spec: {awsName: x}}`}, nil},
		{"what is being deleted stays as it is", []string{selecting, `{kind: VirtualNode, metadata: {name: a, namespace: ns, ` + gone + `}}`}, nil},
		{"a generated name is filled in", []string{selecting, `{kind: VirtualNode, metadata: {generateName: a-, name: a-x, namespace: ns}, spec: {` + ref + `}}`},
			[]string{"VirtualNode ns/a-x: name a-x_ns"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, done := range lifetime.Incomplete(read(t, c.objects...)) {
				got = append(got, completed(done))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func completed(c lifetime.Completion) string {
	var parts []string
	if c.Mesh != nil {
		parts = append(parts, "mesh "+string(c.Mesh.UID))
	}
	if c.Name != "" {
		parts = append(parts, "name "+c.Name)
	}
	if c.Gateway != nil {
		parts = append(parts, fmt.Sprintf("gateway %s/%s %s", *c.Gateway.Namespace, c.Gateway.Name, c.Gateway.UID))
	}
	for _, r := range c.Replaces {
		parts = append(parts, fmt.Sprintf("in place of %s/%s %s", r.Namespace, r.Name, r.UID))
	}
	name := c.Object.GetName()
	if ns := c.Object.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return c.Object.Common().Kind + " " + name + ": " + strings.Join(parts, ", ")
}

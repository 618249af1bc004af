package compile_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// world is a mesh m of the namespaces bank and evil; outside is a namespace of no mesh, and other one of the mesh n.
func world() *compile.Objects {
	o := &compile.Objects{}
	for ns, of := range map[string]string{"bank": "m", "evil": "m", "other": "n", "outside": ""} {
		o.Namespaces = append(o.Namespaces, compile.Namespace{Name: ns, Labels: map[string]string{"mesh": of, "ns": ns}})
	}
	for _, name := range []string{"m", "n"} {
		add(&o.Meshes, 0, "", name, "namespaceSelector: {matchLabels: {mesh: "+name+"}}")
	}
	return o
}

// add puts an object of the given age into a list; the greater the second, the younger it is.
func add[T any, P interface {
	*T
	meshv1beta2.Object
}](list *[]P, second int, namespace, name, spec string,
) P {
	var object P = new(T)
	if err := yaml.UnmarshalStrict([]byte(fmt.Sprintf("spec: {%s}", spec)), object); err != nil {
		panic(err)
	}
	object.SetNamespace(namespace)
	object.SetName(name)
	object.SetUID(types.UID("uid-" + namespace + "-" + name))
	object.SetGeneration(1)
	object.SetCreationTimestamp(metav1.NewTime(time.Unix(int64(second), 0)))
	*list = append(*list, object)
	return object
}

// pod adds a ready pod that runs as the given workload.
func pod(o *compile.Objects, namespace, name, as string, labels ...string) *compile.Pod {
	p := &compile.Pod{
		UID: namespace + "/" + name, Namespace: namespace, Name: name, Labels: map[string]string{}, Ready: true, Running: true, Node: as,
		IPs: []string{fmt.Sprintf("10.0.0.%d", len(o.Pods)+1)},
	}
	for i := 0; i < len(labels); i += 2 {
		p.Labels[labels[i]] = labels[i+1]
	}
	o.Pods = append(o.Pods, p)
	return p
}

func compiled(o *compile.Objects) *compile.Result {
	var c compile.Compiler
	return c.Compile(o)
}

// reasons lists the reasons of an object's problems.
func reasons(r *compile.Result, kind, namespace, name string) []string {
	var out []string
	for _, p := range r.Problems {
		if p.Object == (mesh.Object{Kind: kind, Namespace: namespace, Name: name}) {
			out = append(out, p.Reason)
		}
	}
	return out
}

func TestNoAnnotationGivesAPodAWorkloadOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	const node, gateway = "mesh/m/virtualNode/payments_bank", "mesh/m/virtualGateway/door_bank"
	for name, c := range map[string]struct {
		namespace, annotation, app, want string
	}{
		"the node selects the pod":                                       {"bank", node, "payments", node},
		"the node selects a pod that was injected as another":            {"bank", "mesh/m/virtualNode/gone_bank", "payments", node},
		"no node selects the pod, which keeps what it was injected as":   {"bank", node, "", node},
		"the gateway selects the pod":                                    {"bank", gateway, "door", gateway},
		"no gateway selects the pod, which keeps what it was":            {"bank", gateway, "", gateway},
		"a pod of another namespace of the mesh names the node":          {"evil", node, "", ""},
		"a pod of another namespace has the labels that it selects":      {"evil", node, "payments", ""},
		"a pod of another namespace of the mesh names the gateway":       {"evil", gateway, "", ""},
		"a pod of another namespace has the labels of the gateway":       {"evil", gateway, "door", ""},
		"a pod of no mesh names the node":                                {"outside", node, "", ""},
		"a pod of no mesh names the gateway":                             {"outside", gateway, "", ""},
		"a pod of another mesh names the node":                           {"other", node, "", ""},
		"a node of the pod's own counts, whatever it says":               {"evil", node, "own", "mesh/m/virtualNode/own_evil"},
		"a gateway of the pod's own counts, whatever it says":            {"evil", gateway, "own", "mesh/m/virtualGateway/own_evil"},
		"a name that is none":                                            {"evil", "mesh/m/virtualNode/payments_bank/virtualGateway/x", "", ""},
		"the name of a group, which is that of a workload and a profile": {"bank", node + "?sds", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := world()
			add(&o.VirtualNodes, 1, "bank", "payments", "podSelector: {matchLabels: {app: payments}}")
			add(&o.VirtualGateways, 1, "bank", "door", "podSelector: {matchLabels: {app: door}}, namespaceSelector: {}")
			add(&o.VirtualNodes, 1, "evil", "own", "podSelector: {matchLabels: {app: own}}")
			add(&o.VirtualGateways, 1, "evil", "own", "podSelector: {matchLabels: {app: own}}, namespaceSelector: {}")
			p := pod(o, c.namespace, "p", c.annotation, "app", c.app)
			r := compiled(o)
			if got := r.Model.Members[p.UID]; got != c.want {
				t.Errorf("the pod is of group %q, want %q", got, c.want)
			}
			for _, g := range r.Model.Groups {
				if c.want == "" {
					t.Errorf("a group %s was made for the pod", g.ID)
				}
			}
		})
	}
}

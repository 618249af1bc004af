package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// world is a mesh m of the namespaces bank and evil; outside is a namespace of no mesh, and other one of the mesh n.
func world() *input.Objects {
	o := &input.Objects{}
	for ns, of := range map[string]string{"bank": "m", "evil": "m", "other": "n", "outside": ""} {
		o.Namespaces = append(o.Namespaces, input.Namespace{Name: ns, Labels: map[string]string{"mesh": of, "ns": ns}})
	}
	for _, name := range []string{"m", "n"} {
		add[meshv1beta2.Mesh](o, 0, "", name, "namespaceSelector: {matchLabels: {mesh: "+name+"}}")
	}
	return o
}

// add puts an object of the given age into a list; the greater the second, the younger it is.
func add[T any, P interface {
	*T
	meshv1beta2.Object
}](o *input.Objects, second int, namespace, name, spec string,
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
	input.Add(o, object)
	return object
}

// pod adds a ready pod that runs as the given workload.
func pod(o *input.Objects, namespace, name, as string, labels ...string) *input.Pod {
	p := &input.Pod{
		UID: namespace + "/" + name, Namespace: namespace, Name: name, Labels: map[string]string{}, Ready: true, Running: true, Node: as,
		IPs: []string{fmt.Sprintf("10.0.0.%d", len(o.Pods)+1)},
	}
	for i := 0; i < len(labels); i += 2 {
		p.Labels[labels[i]] = labels[i+1]
	}
	o.Pods = append(o.Pods, p)
	return p
}

func compiled(o *input.Objects) *input.Result {
	var c compile.Compiler
	return c.Compile(o)
}

// reasons lists the reasons of an object's problems.
func reasons(r *input.Result, kind, namespace, name string) []string {
	var out []string
	for _, p := range r.Problems {
		if p.Object == input.AppMesh(kind, namespace, name) {
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
			add[meshv1beta2.VirtualNode](o, 1, "bank", "payments", "podSelector: {matchLabels: {app: payments}}")
			add[meshv1beta2.VirtualGateway](o, 1, "bank", "door", "podSelector: {matchLabels: {app: door}}, namespaceSelector: {}")
			add[meshv1beta2.VirtualNode](o, 1, "evil", "own", "podSelector: {matchLabels: {app: own}}")
			add[meshv1beta2.VirtualGateway](o, 1, "evil", "own", "podSelector: {matchLabels: {app: own}}, namespaceSelector: {}")
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

// rejected is true for an object that has lost its name.
func TestAReferenceLetsNoRouteIntoAGateway(t *testing.T) {
	t.Parallel()
	const refer = "virtualGatewayRef: {namespace: bank, name: %s, uid: uid-bank-%s},"
	for name, c := range map[string]struct {
		refers, namespace string
		labels            map[string]string
		want              string // the gateway that the route is attached to
	}{
		"a route that the gateway selects":                      {"open", "evil", map[string]string{"route": "r"}, "open"},
		"a route whose namespace it does not select":            {"closed", "evil", map[string]string{"route": "r"}, ""},
		"a route whose own labels it does not select":           {"open", "evil", nil, ""},
		"a route of the gateway's own namespace":                {"closed", "bank", map[string]string{"route": "r"}, "closed"},
		"the reference chooses between two that select it":      {"open", "bank", map[string]string{"route": "r"}, "open"},
		"two select it and it refers to none":                   {"", "bank", map[string]string{"route": "r"}, ""},
		"it refers to one that is gone, another one selects it": {"gone", "evil", map[string]string{"route": "r"}, "open"},
		"it refers to none and none selects it":                 {"", "evil", nil, ""},
		"it refers to one that is gone and none selects it":     {"gone", "evil", nil, ""},
		"it refers to one in another mesh":                      {"closed", "other", map[string]string{"route": "r"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := world()
			const listener = ", listeners: [{portMapping: {port: 80, protocol: http}}]"
			add[meshv1beta2.VirtualGateway](o, 1, "bank", "open", "namespaceSelector: {matchLabels: {mesh: m}}, gatewayRouteSelector: {matchLabels: {route: r}}"+listener)
			add[meshv1beta2.VirtualGateway](o, 1, "bank", "closed", "namespaceSelector: {matchLabels: {ns: bank}}"+listener)
			add[meshv1beta2.VirtualService](o, 1, c.namespace, "s", "")
			spec := ""
			if c.refers != "" {
				spec = fmt.Sprintf(refer, c.refers, c.refers)
			}
			r := add[meshv1beta2.GatewayRoute](o, 1, c.namespace, "r", spec+
				"httpRoute: {match: {prefix: /}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}")
			r.Labels = c.labels
			result, got := compiled(o), ""
			for _, w := range result.Model.Workloads {
				if slices.Contains(w.Also, input.AppMesh("GatewayRoute", c.namespace, "r")) {
					got += w.Object.Name
				}
			}
			if got != c.want || (len(reasons(result, "GatewayRoute", c.namespace, "r")) == 0) != (c.want != "") {
				t.Errorf("the route is attached to %q, want %q; problems: %+v", got, c.want, result.Problems)
			}
		})
	}
}

func TestCloudMapInstancesAreThoseOfTheNodesOwnNamespace(t *testing.T) {
	t.Parallel()
	const (
		listener = "listeners: [{portMapping: {port: 80, protocol: http}}],"
		register = listener + "podSelector: {matchLabels: {app: ledger}}, serviceDiscovery: {awsCloudMap: {namespaceName: bank.local, serviceName: ledger}}"
	)
	for name, c := range map[string]struct {
		attributes string
		want       []string // namespaces whose pods are called
		told       string
	}{
		"the nodes of its own namespace":           {"", []string{"bank"}, ""},
		"another namespace that it asks for":       {", attributes: [{key: k8s.io/namespace, value: evil}]", []string{"evil"}, ""},
		"another namespace, of another mesh":       {", attributes: [{key: k8s.io/namespace, value: other}]", nil, "nothing registers as ledger.bank.local in namespace other"},
		"an attribute that an instance claims":     {", attributes: [{key: version, value: v1}]", nil, ""},
		"another namespace, with one more demand":  {", attributes: [{key: k8s.io/namespace, value: evil}, {key: version, value: v1}]", []string{"evil"}, ""},
		"its own namespace, by the attribute, too": {", attributes: [{key: k8s.io/namespace, value: bank}]", []string{"bank"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := world()
			namespace := map[string]string{}
			for _, ns := range []string{"evil", "other", "bank"} {
				spec := register
				if ns != "bank" {
					spec = strings.Replace(register, "serviceName: ledger", "serviceName: ledger, attributes: [{key: version, value: v1}, {key: k8s.io/namespace, value: bank}]", 1)
				}
				add[meshv1beta2.VirtualNode](o, 1, ns, "ledger", spec)
				for _, ip := range pod(o, ns, "ledger-0", "", "app", "ledger").IPs {
					namespace[ip] = ns
				}
			}
			add[meshv1beta2.VirtualNode](o, 2, "bank", "remote", listener+"serviceDiscovery: {awsCloudMap: {namespaceName: bank.local, serviceName: ledger"+c.attributes+"}}")
			add[meshv1beta2.VirtualService](o, 2, "bank", "ledger", "provider: {virtualNode: {virtualNodeRef: {name: remote}}}")
			add[meshv1beta2.VirtualNode](o, 3, "bank", "caller", "backends: [{virtualService: {virtualServiceRef: {name: ledger}}}]")
			r := compiled(o)
			var got []string
			for _, w := range r.Model.Workloads {
				for _, be := range w.Backends {
					for _, e := range be.Service.Ports[0].Routes[0].Targets[0].Destination.Endpoints.List {
						got = append(got, namespace[e.Address])
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("pods of %v are called, want %v", got, c.want)
			}
			told := ""
			for _, p := range r.Problems {
				if p.Object.Name == "remote" {
					told += p.Message
				}
			}
			if (told == "") != (c.told == "") || !strings.Contains(told, c.told) {
				t.Errorf("problems: %q, want %q", told, c.told)
			}
		})
	}
	o := world()
	add[meshv1beta2.VirtualNode](o, 1, "evil", "ledger", register)
	add[meshv1beta2.VirtualNode](o, 2, "bank", "remote", strings.Replace(register, "podSelector: {matchLabels: {app: ledger}},", "", 1))
	const want = "nothing registers as ledger.bank.local in namespace bank: give the node a podSelector, or create a Service \"ledger\" in namespace \"bank.local\"; " +
		"namespace evil registers there too, which counts with the attribute k8s.io/namespace: evil"
	if got := compiled(o).Problems; len(got) != 1 || got[0].Message != want {
		t.Errorf("problems: %+v", got)
	}
}

func TestNoNodeIsFoundAtAnAddressOfItsCallers(t *testing.T) {
	t.Parallel()
	const listener = "listeners: [{portMapping: {port: 8080, protocol: http}}],"
	for name, c := range map[string]struct {
		host, selector string
		offline        bool
		want           string // the host or endpoint that is called
		problem        bool
	}{
		"an address of loopback":                       {"127.0.0.1", "", false, "", true},
		"another form of it":                           {"0x7f.1", "", false, "", true},
		"a name of it":                                 {"localhost.", "", false, "", true},
		"the metadata service":                         {"::ffff:169.254.169.254", "", false, "", true},
		"a Service with such an external name":         {"away.evil.svc.cluster.local", "", false, "", true},
		"the same by its short name":                   {"away", "", false, "", true},
		"a Service with such an endpoint":              {"manual", "", false, "10.0.0.7", false},
		"a node with pods, which counts":               {"127.0.0.1", "podSelector: {matchLabels: {app: x}},", false, "10.0.0.1", false},
		"a node whose selector selects no pod":         {"127.0.0.1", "podSelector: {matchLabels: {app: none}},", false, "", false},
		"another host":                                 {"elsewhere.example", "", false, "elsewhere.example", false},
		"outside a cluster all may run on one machine": {"127.0.0.1", "", true, "127.0.0.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := world()
			o.Settings.Offline, o.Settings.Loopback = c.offline, c.offline
			pod(o, "evil", "x", "", "app", "x")
			o.Services = []*input.Service{
				{Namespace: "evil", Name: "away", ExternalName: "127.1"},
				{Namespace: "evil", Name: "manual", Ports: []input.ServicePort{{Port: 8080, Target: 8080}}},
			}
			o.Slices = []*input.Slice{{Namespace: "evil", Service: "manual", Ports: map[string]uint32{"": 8080}, Endpoints: []input.SliceEndpoint{
				{Address: "127.0.0.1", Ready: true}, {Address: "10.0.0.7", Ready: true}, {Address: "169.254.169.254", Ready: true}, {Address: "::ffff:127.0.0.1", Ready: true},
			}}}
			add[meshv1beta2.VirtualNode](o, 1, "evil", "inward", fmt.Sprintf("%s%s serviceDiscovery: {dns: {hostname: %q}}", c.selector, listener, c.host))
			add[meshv1beta2.VirtualService](o, 1, "evil", "inward", "provider: {virtualNode: {virtualNodeRef: {name: inward}}}")
			add[meshv1beta2.VirtualNode](o, 2, "bank", "caller", "backends: [{virtualService: {virtualServiceRef: {namespace: evil, name: inward}}}]")
			r := compiled(o)
			got := ""
			for _, w := range r.Model.Workloads {
				for _, be := range w.Backends {
					for _, target := range be.Service.Ports[0].Routes[0].Targets {
						if d := target.Destination; d == nil {
							continue
						} else if d.DNS != nil {
							got += d.DNS.Host
						} else {
							for _, e := range d.Endpoints.List {
								got += e.Address
							}
						}
					}
				}
			}
			if got != c.want || (len(r.Problems) == 0) != !c.problem {
				t.Errorf("callers are sent to %q, want %q; problems: %+v", got, c.want, r.Problems)
			}
		})
	}
}

func TestServicesOfOthersGiveNoNamesToACertificate(t *testing.T) {
	t.Parallel()
	o := world()
	add[meshv1beta2.VirtualNode](o, 1, "bank", "x", `listeners: [{portMapping: {port: 80, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "arn:aws:acm:r:1:certificate/a"}}}}],`+
		"serviceDiscovery: {dns: {hostname: x.bank.svc.cluster.local}}")
	for _, ns := range []string{"bank", "evil"} {
		add[meshv1beta2.VirtualService](o, 1, ns, "x", "awsName: www."+ns+".example, provider: {virtualNode: {virtualNodeRef: {namespace: bank, name: x}}}")
	}
	r := compiled(o)
	want := []string{"www.bank.example", "x.bank.svc.cluster.local", "x.bank.vn.cluster.local"}
	if len(r.Certificates) != 1 || !slices.Equal(r.Certificates[0].DNS, want) {
		t.Errorf("certificates: %+v, want one for %v", r.Certificates, want)
	}
}

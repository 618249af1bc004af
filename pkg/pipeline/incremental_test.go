package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// edits is how many random changes the equality is checked over.
const edits = 2500

// TestIncrementalEqualsFresh edits a random mesh again and again: the sets of the running pipeline must be byte for byte those of a
// new one that sees only the end state, in another order of input, and the revisions that the leader would have stored.
func TestIncrementalEqualsFresh(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	w := newWorld(r)
	running := pipeline.New(nil, time.Now)
	var memory lifetime.Memory
	moved, kept := 0, 0
	for i := range edits {
		w.edit()
		got := running.Step(memory.Objects(w.objects()))
		memory.Note(got.Objects, got.Result)
		var fresh lifetime.Memory
		end := w.shuffled()
		end.Accepted = revisions(t, got)
		want := pipeline.New(nil, time.Now).Step(fresh.Objects(end))
		if diff := cmp.Diff(want.Result.Kept, got.Result.Kept, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("edit %d: other accepted specifications are served than by a fresh pipeline\n%s", i, diff)
		}
		kept += len(got.Result.Kept)
		if len(got.Failed) > 0 || len(got.Faults) > 0 {
			t.Fatalf("edit %d: %v %v", i, got.Failed, got.Faults)
		}
		compareSnapshots(t, i, got, want)
		if got.Changed > 0 {
			moved++
		}
	}
	if kept < edits/4 {
		t.Errorf("accepted specifications were kept %d times in %d edits: the edits prove little", kept, edits)
	}
	if moved < edits/4 {
		t.Errorf("only %d of %d edits changed any set: the edits prove little", moved, edits)
	}
}

// revisions are the accepted specifications that a snapshot serves, as they come back from the API server.
func revisions(t *testing.T, s *pipeline.Snapshot) []meshv1beta2.Object {
	t.Helper()
	var out []meshv1beta2.Object
	for _, a := range s.Objects.Accepted {
		id := input.ID(a)
		if s.Result.Kept[id] == 0 {
			continue
		}
		r, err := lifetime.Revision(a, "system")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, lifetime.ParseRevision(r, "system").Accepted)
	}
	return out
}

func compareSnapshots(t *testing.T, i int, got, want *pipeline.Snapshot) {
	t.Helper()
	if len(got.Sets) != len(want.Sets) {
		t.Fatalf("edit %d: %d groups, a fresh pipeline has %d", i, len(got.Sets), len(want.Sets))
	}
	for id, set := range want.Sets {
		if got.Sets[id] == nil || got.Sets[id].Version != set.Version {
			t.Fatalf("edit %d: group %s differs from that of a fresh pipeline", i, id)
		}
	}
	if fmt.Sprint(got.Result.Problems) != fmt.Sprint(want.Result.Problems) {
		t.Fatalf("edit %d: problems differ:\n%v\n%v", i, got.Result.Problems, want.Result.Problems)
	}
	for id, group := range want.Result.Model.Members {
		if got.Result.Model.Members[id] != group {
			t.Fatalf("edit %d: proxy %s is in group %s, a fresh pipeline puts it into %s", i, id, got.Result.Model.Members[id], group)
		}
	}
}

// world is a mesh that changes at random. Objects are replaced, never modified, as informers do.
type world struct {
	r        *rand.Rand
	clock    int64
	mesh     *meshv1beta2.Mesh
	nodes    map[string]*meshv1beta2.VirtualNode
	services map[string]*meshv1beta2.VirtualService
	routers  map[string]*meshv1beta2.VirtualRouter
	routes   map[string]*meshv1beta2.Route
	pods     map[string]*input.Pod
	kube     map[string]*input.Service
	slices   map[string]*input.Slice
	gateways map[string]*meshv1beta2.VirtualGateway
	entries  map[string]*meshv1beta2.GatewayRoute
	groups   map[string]*meshv1beta2.BackendGroup
	issued   input.Certificates
}

const names = 12

func newWorld(r *rand.Rand) *world {
	w := &world{
		r: r, nodes: map[string]*meshv1beta2.VirtualNode{}, services: map[string]*meshv1beta2.VirtualService{},
		routers: map[string]*meshv1beta2.VirtualRouter{}, routes: map[string]*meshv1beta2.Route{},
		pods: map[string]*input.Pod{}, kube: map[string]*input.Service{}, slices: map[string]*input.Slice{},
		gateways: map[string]*meshv1beta2.VirtualGateway{}, entries: map[string]*meshv1beta2.GatewayRoute{},
		groups: map[string]*meshv1beta2.BackendGroup{},
	}
	w.editMesh()
	for range 60 {
		w.edit()
	}
	return w
}

func (w *world) pick() string { return fmt.Sprintf("n%d", w.r.IntN(names)) }

func (w *world) meta(name string) metav1.ObjectMeta {
	w.clock++
	return metav1.ObjectMeta{
		Name: name, Namespace: "ns", UID: types.UID(name), Generation: w.clock,
		CreationTimestamp: metav1.NewTime(time.Unix(int64(len(name)*1000+int(name[len(name)-1])), 0)),
	}
}

// edit makes one random change.
func (w *world) edit() {
	name := w.pick()
	switch k := w.r.IntN(21); {
	case k == 0:
		w.editMesh()
	case k < 4:
		change(w, w.nodes, name, w.node)
	case k < 6:
		change(w, w.services, name, w.service)
	case k < 9:
		change(w, w.routers, name, w.router)
	case k < 10:
		change(w, w.routes, name, w.route)
	case k < 14:
		change(w, w.pods, fmt.Sprintf("pod-%d", w.r.IntN(40)), w.pod)
	case k < 15:
		change(w, w.kube, name, w.kubeService)
	case k < 16:
		change(w, w.gateways, fmt.Sprintf("g%d", w.r.IntN(3)), w.gateway)
	case k < 18:
		change(w, w.entries, name, w.entry)
	case k < 19:
		change(w, w.groups, fmt.Sprintf("b%d", w.r.IntN(3)), w.group)
	case k < 20:
		w.rotate()
	default:
		change(w, w.slices, name, w.slice)
	}
}

func change[V any](w *world, m map[string]V, name string, build func(string) V) {
	if w.r.IntN(6) == 0 {
		delete(m, name)
		return
	}
	m[name] = build(name)
}

func (w *world) editMesh() {
	m := &meshv1beta2.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "m", UID: "m", Generation: w.clock + 1}}
	m.Spec.NamespaceSelector = &metav1.LabelSelector{}
	if w.r.IntN(2) == 0 {
		m.Spec.EgressFilter = &meshv1beta2.EgressFilter{Type: meshv1beta2.EgressFilterAllowAll}
	}
	w.mesh = m
}

var protocols = []meshv1beta2.Protocol{"http", "http2", "grpc", "tcp"}

func (w *world) node(name string) *meshv1beta2.VirtualNode {
	n := &meshv1beta2.VirtualNode{ObjectMeta: w.meta(name)}
	if w.r.IntN(4) > 0 {
		n.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	for i := range w.r.IntN(3) {
		n.Spec.Listeners = append(n.Spec.Listeners, meshv1beta2.Listener{
			PortMapping: meshv1beta2.PortMapping{Port: int64(8080 + i), Protocol: protocols[w.r.IntN(4)]},
			TLS:         w.listenerTLS(),
		})
	}
	if w.r.IntN(4) == 0 {
		n.Spec.BackendDefaults = &meshv1beta2.BackendDefaults{ClientPolicy: w.policy()}
	}
	for range w.r.IntN(2) {
		n.Spec.BackendGroups = append(n.Spec.BackendGroups, meshv1beta2.Reference{Name: []string{"b0", "b1", "*"}[w.r.IntN(3)]})
	}
	host := name + ".ns.svc.cluster.local"
	if w.r.IntN(4) == 0 {
		host = "outside.example.com"
	}
	n.Spec.ServiceDiscovery = &meshv1beta2.ServiceDiscovery{DNS: &meshv1beta2.DNSServiceDiscovery{Hostname: host}}
	for range w.r.IntN(5) {
		n.Spec.Backends = append(n.Spec.Backends, meshv1beta2.Backend{VirtualService: meshv1beta2.VirtualServiceBackend{
			VirtualServiceRef: &meshv1beta2.Reference{Name: w.pick()}, ClientPolicy: w.policy(),
		}})
	}
	return n
}

// certificate is one of the three kinds.
func (w *world) certificate() meshv1beta2.ListenerTLSCertificate {
	switch w.r.IntN(3) {
	case 0:
		return meshv1beta2.ListenerTLSCertificate{File: &meshv1beta2.FileCertificate{CertificateChain: "/c/tls.crt", PrivateKey: "/c/tls.key"}}
	case 1:
		return meshv1beta2.ListenerTLSCertificate{SDS: &meshv1beta2.SDSSecret{SecretName: w.pick()}}
	default:
		return meshv1beta2.ListenerTLSCertificate{ACM: &meshv1beta2.ACMCertificate{CertificateARN: "arn:" + w.pick()}}
	}
}

func (w *world) listenerTLS() *meshv1beta2.ListenerTLS {
	if w.r.IntN(2) == 0 {
		return nil
	}
	modes := []meshv1beta2.TLSMode{meshv1beta2.TLSModeDisabled, meshv1beta2.TLSModePermissive, meshv1beta2.TLSModeStrict}
	return &meshv1beta2.ListenerTLS{Mode: modes[w.r.IntN(3)], Certificate: w.certificate()}
}

func (w *world) policy() *meshv1beta2.ClientPolicy {
	if w.r.IntN(3) > 0 {
		return nil
	}
	enforce := w.r.IntN(2) == 0
	tls := &meshv1beta2.ClientPolicyTLS{Enforce: &enforce}
	if w.r.IntN(2) == 0 {
		tls.Ports = []int64{8080}
	}
	if w.r.IntN(2) == 0 {
		tls.Validation.Trust.ACM = &meshv1beta2.ACMTrust{CertificateAuthorityARNs: []string{"arn:" + w.pick()}}
	} else {
		tls.Validation.Trust.File = &meshv1beta2.FileTrust{CertificateChain: "/c/ca.crt"}
		tls.Certificate = &meshv1beta2.ClientTLSCertificate{File: &meshv1beta2.FileCertificate{CertificateChain: "/c/c.crt", PrivateKey: "/c/c.key"}}
	}
	return &meshv1beta2.ClientPolicy{TLS: tls}
}

func (w *world) gateway(name string) *meshv1beta2.VirtualGateway {
	g := &meshv1beta2.VirtualGateway{ObjectMeta: w.meta(name)}
	g.Spec.NamespaceSelector = &metav1.LabelSelector{}
	if w.r.IntN(2) == 0 {
		g.Spec.GatewayRouteSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"gateway": name}}
	}
	g.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.pick()}}
	for i := range w.r.IntN(3) {
		g.Spec.Listeners = append(g.Spec.Listeners, meshv1beta2.VirtualGatewayListener{
			PortMapping: meshv1beta2.VirtualGatewayPortMapping{Port: int64(8080 + i), Protocol: protocols[w.r.IntN(3)]},
		})
		if t := w.listenerTLS(); t != nil {
			g.Spec.Listeners[i].TLS = &meshv1beta2.VirtualGatewayListenerTLS{Mode: t.Mode, Certificate: t.Certificate}
		}
	}
	if w.r.IntN(3) == 0 {
		g.Spec.BackendDefaults = &meshv1beta2.BackendDefaults{ClientPolicy: w.policy()}
	}
	return g
}

func (w *world) entry(name string) *meshv1beta2.GatewayRoute {
	r := &meshv1beta2.GatewayRoute{ObjectMeta: w.meta(name)}
	r.Labels = map[string]string{"gateway": fmt.Sprintf("g%d", w.r.IntN(3))}
	target := meshv1beta2.GatewayRouteTarget{VirtualService: meshv1beta2.GatewayRouteVirtualService{VirtualServiceRef: &meshv1beta2.Reference{Name: w.pick()}}}
	port := int64(8080 + w.r.IntN(2))
	host := &meshv1beta2.HostnameMatch{}
	name, other := []string{"a.example.com", "*", ".example.com", "com"}[w.r.IntN(4)], w.r.IntN(3)
	switch other {
	case 0:
		host = nil
	case 1:
		host.Exact = &name
	default:
		host.Suffix = &name
	}
	if w.r.IntN(4) == 0 {
		service := "a.Service"
		r.Spec.GRPCRoute = &meshv1beta2.GRPCGatewayRoute{Match: meshv1beta2.GRPCGatewayRouteMatch{ServiceName: &service, Hostname: host, Port: &port}, Action: meshv1beta2.GRPCGatewayRouteAction{Target: target}}
		return r
	}
	prefix, disabled := []string{"/", "/a", "/a/", ""}[w.r.IntN(4)], meshv1beta2.DefaultRewriteDisabled
	h := &meshv1beta2.HTTPGatewayRoute{Match: meshv1beta2.HTTPGatewayRouteMatch{Prefix: &prefix, Hostname: host, Port: &port}, Action: meshv1beta2.HTTPGatewayRouteAction{Target: target}}
	if w.r.IntN(3) == 0 {
		h.Action.Rewrite = &meshv1beta2.HTTPGatewayRouteRewrite{Hostname: &meshv1beta2.GatewayRouteHostnameRewrite{DefaultTargetHostname: &disabled}}
	}
	if w.r.IntN(2) == 0 {
		r.Spec.HTTPRoute = h
	} else {
		r.Spec.HTTP2Route = h
	}
	return r
}

func (w *world) group(name string) *meshv1beta2.BackendGroup {
	g := &meshv1beta2.BackendGroup{ObjectMeta: w.meta(name)}
	for range w.r.IntN(4) {
		g.Spec.VirtualServices = append(g.Spec.VirtualServices, meshv1beta2.Reference{Name: w.pick()})
	}
	return g
}

// rotate changes what the mesh's authority issued and what names are mapped to.
func (w *world) rotate() {
	w.clock++
	pair := func(of string) input.KeyPair {
		text := []byte(fmt.Sprintf("%s %d", of, w.clock))
		return input.KeyPair{Chain: text, Key: text, Trust: text}
	}
	next := input.Certificates{Root: []byte("root"), Leaves: map[mesh.Object]input.KeyPair{}, Mapped: map[input.Mapping][]input.MappedSecret{}}
	for range 6 {
		name := w.pick()
		next.Leaves[input.AppMesh("VirtualNode", "ns", name)] = pair(name)
		next.Mapped[input.Mapping{Mesh: "m", Name: "arn:" + w.pick()}] = []input.MappedSecret{{Secret: "one", KeyPair: pair("withheld")}, {Secret: "two", Namespaces: []string{"ns"}, KeyPair: pair("mapped")}}
		next.Mapped[input.Mapping{Mesh: "m", Name: w.pick()}] = []input.MappedSecret{{Secret: "none", Namespaces: []string{"*"}}}
	}
	w.issued = next
}

func (w *world) service(name string) *meshv1beta2.VirtualService {
	s := &meshv1beta2.VirtualService{ObjectMeta: w.meta(name)}
	ref := &meshv1beta2.Reference{Name: w.pick()}
	switch w.r.IntN(5) {
	case 0:
	case 1:
		s.Spec.Provider = &meshv1beta2.VirtualServiceProvider{VirtualNode: &meshv1beta2.VirtualNodeServiceProvider{VirtualNodeRef: ref}}
	default:
		s.Spec.Provider = &meshv1beta2.VirtualServiceProvider{VirtualRouter: &meshv1beta2.VirtualRouterServiceProvider{VirtualRouterRef: ref}}
	}
	if w.r.IntN(8) == 0 {
		shared := "shared.example.com"
		s.Spec.AWSName = &shared
	}
	return s
}

func (w *world) body() meshv1beta2.RouteBody {
	prefix := []string{"/", "/a", "/ab", "nonsense"}[w.r.IntN(4)]
	r := &meshv1beta2.HTTPRoute{Match: meshv1beta2.HTTPRouteMatch{Prefix: &prefix}}
	if w.r.IntN(6) == 0 {
		bad := "(?=x)"
		r.Match.Prefix, r.Match.Path = nil, &meshv1beta2.PathMatch{Regex: &bad}
	}
	for range 1 + w.r.IntN(3) {
		r.Action.WeightedTargets = append(r.Action.WeightedTargets, meshv1beta2.WeightedTarget{
			VirtualNodeRef: &meshv1beta2.Reference{Name: w.pick()}, Weight: int64(w.r.IntN(4)),
		})
	}
	switch w.r.IntN(4) {
	case 0:
		return meshv1beta2.RouteBody{HTTP2Route: r}
	case 1:
		return meshv1beta2.RouteBody{TCPRoute: &meshv1beta2.TCPRoute{Action: r.Action}}
	default:
		return meshv1beta2.RouteBody{HTTPRoute: r}
	}
}

func (w *world) router(name string) *meshv1beta2.VirtualRouter {
	r := &meshv1beta2.VirtualRouter{ObjectMeta: w.meta(name)}
	r.Spec.Listeners = []meshv1beta2.VirtualRouterListener{{PortMapping: meshv1beta2.PortMapping{Port: int64(8080 + w.r.IntN(2)), Protocol: protocols[w.r.IntN(4)]}}}
	for i := range w.r.IntN(4) {
		r.Spec.Routes = append(r.Spec.Routes, meshv1beta2.InlineRoute{Name: fmt.Sprintf("r%d", i), RouteBody: w.body()})
	}
	return r
}

func (w *world) route(name string) *meshv1beta2.Route {
	r := &meshv1beta2.Route{ObjectMeta: w.meta(name)}
	r.Spec.VirtualRouterRef.Name, r.Spec.RouteBody = w.pick(), w.body()
	return r
}

func (w *world) pod(name string) *input.Pod {
	app := w.pick()
	p := &input.Pod{
		UID: name, Namespace: "ns", Name: name, Labels: map[string]string{"app": app},
		IPs: []string{fmt.Sprintf("10.0.0.%d", w.r.IntN(250))}, Ready: w.r.IntN(3) > 0, Running: true, Terminating: w.r.IntN(8) == 0,
	}
	switch w.r.IntN(8) {
	case 0, 1:
	case 2:
		p.Node = fmt.Sprintf("mesh/m/virtualGateway/g%d_ns", w.r.IntN(3))
	default:
		p.Node = "mesh/m/virtualNode/" + app + "_ns"
	}
	p.Profile.SDS = w.r.IntN(2) == 0
	return p
}

func (w *world) kubeService(name string) *input.Service {
	return &input.Service{
		Namespace: "ns", Name: name, ClusterIPs: []string{fmt.Sprintf("10.1.0.%d", w.r.IntN(250))},
		Ports: []input.ServicePort{{Name: "p", Port: 8080, Target: uint32(8080 + w.r.IntN(3))}},
	}
}

func (w *world) slice(name string) *input.Slice {
	s := &input.Slice{Namespace: "ns", Service: name, Ports: map[string]uint32{"p": 9000}}
	for i := range w.r.IntN(4) {
		s.Endpoints = append(s.Endpoints, input.SliceEndpoint{Address: fmt.Sprintf("10.2.0.%d", i), Ready: w.r.IntN(3) > 0})
	}
	return s
}

func values[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, v := range m { // the order is random on purpose
		out = append(out, v)
	}
	return out
}

func (w *world) objects() *input.Objects {
	o := &input.Objects{
		Config: []input.Object{w.mesh}, Namespaces: []input.Namespace{{Name: "ns"}}, Pods: values(w.pods), Services: values(w.kube),
		Slices: values(w.slices), Certificates: w.issued, Settings: input.Settings{EgressExempt: []string{"*.amazonaws.com"}, BackendGroups: true},
	}
	input.Add(o, values(w.nodes)...)
	input.Add(o, values(w.services)...)
	input.Add(o, values(w.routers)...)
	input.Add(o, values(w.routes)...)
	input.Add(o, values(w.gateways)...)
	input.Add(o, values(w.entries)...)
	input.Add(o, values(w.groups)...)
	return o
}

func (w *world) shuffled() *input.Objects {
	o := w.objects()
	w.r.Shuffle(len(o.Config), func(i, j int) { o.Config[i], o.Config[j] = o.Config[j], o.Config[i] })
	w.r.Shuffle(len(o.Pods), func(i, j int) { o.Pods[i], o.Pods[j] = o.Pods[j], o.Pods[i] })
	return o
}

// every set must be complete: what one resource names, another defines, or it is left undefined on purpose.
func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	w := newWorld(rand.New(rand.NewPCG(3, 4)))
	p := pipeline.New(nil, time.Now)
	for range 200 {
		w.edit()
		s := p.Step(w.objects())
		for id, set := range s.Sets {
			clusters := map[string]bool{}
			for _, r := range set.Resources(xds.ClusterType) {
				clusters[r.Name] = true
			}
			for _, kind := range []string{xds.ListenerType, xds.RouteType} {
				for _, r := range set.Resources(kind) {
					for _, need := range r.Needs {
						if !clusters[need] {
							t.Fatalf("group %s: %s needs cluster %s, which is not in the set", id, r.Name, need)
						}
					}
				}
			}
		}
	}
}

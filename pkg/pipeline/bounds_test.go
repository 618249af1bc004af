package pipeline_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// crowd is a small fleet of namespace ns, which must be served whatever the objects of namespace evil are.
func crowd() *input.Objects {
	o := fleet(20, 2, 5)
	o.Namespaces = append(o.Namespaces, input.Namespace{Name: "evil"})
	o.Settings.BackendGroups = true
	return o
}

func evil(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "evil", UID: types.UID("evil-" + name), Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(1, 0))}
}

var meshRef = &meshv1beta2.MeshReference{Name: "m", UID: "m"}

// evilService adds a node of the given pods' label with a service.
func evilService(o *input.Objects, name string, labels map[string]string) *meshv1beta2.VirtualNode {
	n := &meshv1beta2.VirtualNode{ObjectMeta: evil(name)}
	n.Spec.MeshRef = meshRef
	n.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: labels}
	n.Spec.Listeners = []meshv1beta2.Listener{{PortMapping: meshv1beta2.PortMapping{Port: 8080, Protocol: "http"}}}
	n.Spec.ServiceDiscovery = &meshv1beta2.ServiceDiscovery{DNS: &meshv1beta2.DNSServiceDiscovery{Hostname: name + ".evil.svc.cluster.local"}}
	input.Add(o, n)
	s := &meshv1beta2.VirtualService{ObjectMeta: evil(name)}
	s.Spec.MeshRef = meshRef
	s.Spec.Provider = &meshv1beta2.VirtualServiceProvider{VirtualNode: &meshv1beta2.VirtualNodeServiceProvider{VirtualNodeRef: &meshv1beta2.Reference{Name: name}}}
	input.Add(o, s)
	return n
}

func evilPod(o *input.Objects, i int, node string, labels map[string]string) {
	id := fmt.Sprintf("evil-%d", i)
	o.Pods = append(o.Pods, &input.Pod{
		UID: id, Namespace: "evil", Name: id, Labels: labels, IPs: []string{fmt.Sprintf("10.200.%d.%d", i/250, i%250)},
		Ready: true, Running: true, Node: "mesh/m/virtualNode/" + node + "_evil",
	})
}

// gatewayRoutes is one gateway with n routes, every second of them with a host of its own; keep says whether requests keep their host.
func gatewayRoutes(n, services int, keep bool) *input.Objects {
	o := crowd()
	g := &meshv1beta2.VirtualGateway{ObjectMeta: evil("gw")}
	g.Spec.MeshRef, g.Spec.NamespaceSelector, g.Spec.PodSelector = meshRef, &metav1.LabelSelector{}, &metav1.LabelSelector{}
	g.Spec.Listeners = []meshv1beta2.VirtualGatewayListener{{PortMapping: meshv1beta2.VirtualGatewayPortMapping{Port: 8088, Protocol: "http"}}}
	input.Add(o, g)
	for i := range services {
		evilService(o, fmt.Sprintf("s%d", i), map[string]string{"app": "none"})
	}
	o.Pods = append(o.Pods, &input.Pod{
		UID: "gw", Namespace: "evil", Name: "gw", IPs: []string{"10.201.0.1"}, Ready: true, Running: true, Node: "mesh/m/virtualGateway/gw_evil",
	})
	for i := range n {
		r := &meshv1beta2.GatewayRoute{ObjectMeta: evil(fmt.Sprintf("r%d", i))}
		r.Spec.MeshRef = meshRef
		prefix := fmt.Sprintf("/r%d/", i)
		h := &meshv1beta2.HTTPGatewayRoute{Match: meshv1beta2.HTTPGatewayRouteMatch{Prefix: &prefix}}
		if i%2 == 0 {
			host := fmt.Sprintf("h%d.example.com", i)
			h.Match.Hostname = &meshv1beta2.HostnameMatch{Exact: &host}
		}
		h.Action.Target.VirtualService.VirtualServiceRef = &meshv1beta2.Reference{Name: fmt.Sprintf("s%d", i%services)}
		if keep {
			off := meshv1beta2.DefaultRewriteDisabled
			h.Action.Rewrite = &meshv1beta2.HTTPGatewayRouteRewrite{Hostname: &meshv1beta2.GatewayRouteHostnameRewrite{DefaultTargetHostname: &off}}
		}
		r.Spec.HTTPRoute = h
		input.Add(o, r)
	}
	return o
}

// overlap is n nodes that all select the same pods.
func overlap(nodes, pods int) *input.Objects {
	o := crowd()
	for i := range nodes {
		evilService(o, fmt.Sprintf("s%d", i), map[string]string{"app": "all"})
	}
	for i := range pods {
		evilPod(o, i, "gone", map[string]string{"app": "all"})
	}
	// Whoever calls them all gets the endpoints of all.
	all := input.Of[*meshv1beta2.VirtualNode](o)
	all[len(all)-nodes].Spec.BackendGroups = []meshv1beta2.Reference{{Name: "*"}}
	return o
}

// everyService is nodes that each may call all services of their namespace, and differ by one backend so that nothing is shared.
func everyService(services, nodes int) *input.Objects {
	o := crowd()
	for i := range services {
		n := evilService(o, fmt.Sprintf("s%d", i), map[string]string{"app": fmt.Sprint(i)})
		if i < nodes {
			evilPod(o, i, fmt.Sprintf("s%d", i), map[string]string{"app": fmt.Sprint(i)})
			n.Spec.BackendGroups = []meshv1beta2.Reference{{Name: "*"}}
			n.Spec.Backends = []meshv1beta2.Backend{{VirtualService: meshv1beta2.VirtualServiceBackend{VirtualServiceRef: &meshv1beta2.Reference{Name: fmt.Sprintf("n%d", i%20), Namespace: ptr("ns")}}}}
		}
	}
	return o
}

// cloudMap is overlap with nodes that all stand for one Cloud Map service.
func cloudMap(nodes, pods int) *input.Objects {
	o := overlap(nodes, pods)
	for n := range input.All[*meshv1beta2.VirtualNode](o) {
		if n.Namespace == "evil" {
			n.Spec.ServiceDiscovery = &meshv1beta2.ServiceDiscovery{AWSCloudMap: &meshv1beta2.AWSCloudMapServiceDiscovery{ServiceName: "s", NamespaceName: "c"}}
		}
	}
	return o
}

func ptr[T any](v T) *T { return &v }

// many are the worlds that a tenant may make of objects that are cheap to write.
var many = []struct {
	what string
	make func() *input.Objects
}{
	{"2000 gateway routes", func() *input.Objects { return gatewayRoutes(2000, 50, false) }},
	{"2000 gateway routes that keep the host, 1000 services", func() *input.Objects { return gatewayRoutes(2000, 1000, true) }},
	{"1000 pods x 1000 nodes", func() *input.Objects { return overlap(1000, 1000) }},
	{"1000 pods x 1000 Cloud Map nodes", func() *input.Objects { return cloudMap(1000, 1000) }},
	{"group of 500 services x 1 node", func() *input.Objects { return everyService(500, 1) }},
	{"group of 500 services x 500 nodes", func() *input.Objects { return everyService(500, 500) }},
}

// BenchmarkBounds measures a whole pass after one router of the neighbours was edited, and what the process holds. The first pass, in
// which nothing is remembered, is reported as first-ms. Run one world at a time for the memory: -bench 'Bounds/1000_pods'.
func BenchmarkBounds(b *testing.B) {
	for _, c := range many {
		b.Run(c.what, func(b *testing.B) {
			o := c.make()
			p := pipeline.New(nil, time.Now)
			start := time.Now()
			p.Step(o)
			first := time.Since(start)
			for i := 0; b.Loop(); i++ {
				editFirstRouter(o, "n1", int64(1+i%50))
				p.Step(o)
			}
			b.ReportMetric(float64(first.Milliseconds()), "first-ms")
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc>>20), "heap-MB")
			b.ReportMetric(float64(highWater(b)>>20), "peak-RSS-MB")
			runtime.KeepAlive(p)
		})
	}
}

// highWater is the most memory that the process has held.
func highWater(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kB << 10
}

// size is the number of bytes that the proxies of a group are sent.
func size(set *xds.Set) int {
	n := 0
	for _, t := range []string{xds.ClusterType, xds.EndpointType, xds.SecretType, xds.ListenerType, xds.RouteType} {
		for _, r := range set.Resources(t) {
			m, err := r.Message()
			if err != nil {
				panic(err)
			}
			n += proto.Size(m)
		}
	}
	return n
}

// tooLarge counts the objects of a kind that are told that they are over a bound.
func tooLarge(s *pipeline.Snapshot, kind string) int {
	told := map[string]bool{}
	for _, p := range s.Result.Problems {
		if p.Object.Kind == kind && p.Reason == meshv1beta2.ReasonTooLarge {
			told[p.Object.String()] = true
		}
	}
	return len(told)
}

// TestWhatOneTenantMayCost makes many cheap objects in one namespace: sets and messages stay small, what crosses a bound says so, and the
// other namespace has what it has without them.
func TestWhatOneTenantMayCost(t *testing.T) {
	t.Parallel()
	want := pipeline.New(nil, time.Now).Step(crowd())
	longRoutes := func(n int) *input.Objects {
		o := gatewayRoutes(n, 50, false)
		for r := range input.All[*meshv1beta2.GatewayRoute](o) {
			for i := range 10 {
				r.Spec.HTTPRoute.Match.Headers = append(r.Spec.HTTPRoute.Match.Headers, meshv1beta2.HeaderMatch{
					Name: fmt.Sprintf("x-%d", i), Match: &meshv1beta2.ValueMatch{Exact: ptr(strings.Repeat("v", 255))},
				})
			}
		}
		return o
	}
	longRouter := func(routes int) *input.Objects {
		o := gatewayRoutes(2, 2, false)
		r := &meshv1beta2.VirtualRouter{ObjectMeta: evil("big")}
		r.Spec.MeshRef = meshRef
		r.Spec.Listeners = []meshv1beta2.VirtualRouterListener{{PortMapping: meshv1beta2.PortMapping{Port: 8080, Protocol: "http"}}}
		input.Add(o, r)
		all := input.Of[*meshv1beta2.VirtualService](o)
		all[len(all)-1].Spec.Provider = &meshv1beta2.VirtualServiceProvider{VirtualRouter: &meshv1beta2.VirtualRouterServiceProvider{VirtualRouterRef: &meshv1beta2.Reference{Name: "big"}}}
		for i := range routes {
			route := &meshv1beta2.Route{ObjectMeta: evil(fmt.Sprintf("route%d", i))}
			route.Spec.VirtualRouterRef.Name, route.Spec.RouteBody = "big", weight("s0", 1)
			route.Spec.HTTPRoute.Match.Prefix = ptr(fmt.Sprintf("/%d/", i))
			input.Add(o, route)
		}
		return o
	}
	for _, c := range []struct {
		what string
		in   *input.Objects
		// told are the objects over a bound, by kind; most is the size of the largest set.
		kind  string
		told  [2]int
		group int
	}{
		{"gateway routes within the bound", gatewayRoutes(2000, 50, false), "GatewayRoute", [2]int{0, 0}, 2 << 20},
		{"gateway routes that keep the host", gatewayRoutes(2000, 1000, true), "GatewayRoute", [2]int{0, 0}, 4 << 20},
		{"gateway routes over the bound", longRoutes(2000), "GatewayRoute", [2]int{500, 1500}, 6 << 20},
		{"routes of one router over the bound", longRouter(10000), "Route", [2]int{1000, 5000}, 6 << 20},
		{"pods that many nodes select", overlap(1000, 300), "VirtualNode", [2]int{900, 900}, 6 << 20},
		{"nodes of one Cloud Map service", cloudMap(1000, 300), "VirtualNode", [2]int{900, 1000}, 6 << 20},
		{"a group of all services within the bound", everyService(500, 20), "VirtualNode", [2]int{0, 0}, 2 << 20},
		{"a group of all services over the bound", everyService(500, 300), "VirtualNode", [2]int{90, 110}, 2 << 20},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := pipeline.New(nil, time.Now).Step(c.in)
			if len(s.Failed) > 0 || len(s.Faults) > 0 {
				t.Fatalf("failed %v, faults %v", s.Failed, s.Faults)
			}
			for id, set := range want.Sets {
				if got := s.Sets[id]; got == nil || got.Version != set.Version {
					t.Errorf("group %s of the other namespace is not what it is without them", id)
				}
			}
			text := 0
			for _, p := range s.Result.Problems {
				text += len(p.Message)
				if len(p.Message) > 1000 {
					t.Errorf("a message has %d bytes: %.200s", len(p.Message), p.Message)
				}
			}
			if text > 2<<20 {
				t.Errorf("the messages have %d bytes", text)
			}
			for id, set := range s.Sets {
				if n := size(set); n > c.group {
					t.Errorf("the set of %s has %d bytes", id, n)
				}
			}
			if n := tooLarge(s, c.kind); n < c.told[0] || n > c.told[1] {
				t.Errorf("%d objects are told that they are over a bound, want %d to %d", n, c.told[0], c.told[1])
			}
		})
	}
}

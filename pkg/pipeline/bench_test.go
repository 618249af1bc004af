package pipeline_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// fleet is a mesh of equal nodes, each with a router, a service, some pods and backends.
func fleet(nodes, pods, backends int) *input.Objects {
	m := &meshv1beta2.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "m", UID: "m"}}
	m.Spec.NamespaceSelector = &metav1.LabelSelector{}
	o := &input.Objects{Config: []input.Object{m}, Namespaces: []input.Namespace{{Name: "ns"}}}
	ref := &meshv1beta2.MeshReference{Name: "m", UID: "m"}
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		meta := metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name), Generation: 1}
		n := &meshv1beta2.VirtualNode{ObjectMeta: meta}
		n.Spec.MeshRef = ref
		n.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
		n.Spec.Listeners = []meshv1beta2.Listener{{PortMapping: meshv1beta2.PortMapping{Port: 8080, Protocol: "http"}}}
		n.Spec.ServiceDiscovery = &meshv1beta2.ServiceDiscovery{DNS: &meshv1beta2.DNSServiceDiscovery{Hostname: name + ".ns.svc.cluster.local"}}
		for j := range backends {
			n.Spec.Backends = append(n.Spec.Backends, meshv1beta2.Backend{VirtualService: meshv1beta2.VirtualServiceBackend{
				VirtualServiceRef: &meshv1beta2.Reference{Name: fmt.Sprintf("n%d", (i+j+1)%nodes)},
			}})
		}
		input.Add(o, n)
		r := &meshv1beta2.VirtualRouter{ObjectMeta: meta}
		r.Spec.MeshRef = ref
		r.Spec.Listeners = []meshv1beta2.VirtualRouterListener{{PortMapping: meshv1beta2.PortMapping{Port: 8080, Protocol: "http"}}}
		r.Spec.Routes = []meshv1beta2.InlineRoute{{Name: "all", RouteBody: weight(name, 1)}}
		input.Add(o, r)
		s := &meshv1beta2.VirtualService{ObjectMeta: meta}
		s.Spec.MeshRef = ref
		s.Spec.Provider = &meshv1beta2.VirtualServiceProvider{VirtualRouter: &meshv1beta2.VirtualRouterServiceProvider{VirtualRouterRef: &meshv1beta2.Reference{Name: name}}}
		input.Add(o, s)
		for j := range pods {
			id := fmt.Sprintf("%s-%d", name, j)
			o.Pods = append(o.Pods, &input.Pod{
				UID: id, Namespace: "ns", Name: id, Labels: map[string]string{"app": name}, IPs: []string{fmt.Sprintf("10.%d.%d.%d", i/250, i%250, j)},
				Ready: true, Running: true, Node: "mesh/m/virtualNode/" + name + "_ns",
			})
		}
	}
	return o
}

func weight(node string, w int64) meshv1beta2.RouteBody {
	all := "/"
	return meshv1beta2.RouteBody{HTTPRoute: &meshv1beta2.HTTPRoute{
		Match:  meshv1beta2.HTTPRouteMatch{Prefix: &all},
		Action: meshv1beta2.RouteAction{WeightedTargets: []meshv1beta2.WeightedTarget{{VirtualNodeRef: &meshv1beta2.Reference{Name: node}, Weight: w}}},
	}}
}

// editFirstRouter gives the first router another weight, as one more generation.
func editFirstRouter(o *input.Objects, node string, w int64) { editRouter(o, 0, node, w) }

// editRouter is editFirstRouter with the n-th router, counted round and round.
func editRouter(o *input.Objects, n int, node string, w int64) {
	var at []int
	for i, object := range o.Config {
		if _, ok := object.(*meshv1beta2.VirtualRouter); ok {
			at = append(at, i)
		}
	}
	i := at[n%len(at)]
	next := o.Config[i].(*meshv1beta2.VirtualRouter).DeepCopy()
	next.Generation++
	next.Spec.Routes[0].RouteBody = weight(node, w)
	o.Config = slices.Clone(o.Config)
	o.Config[i] = next
}

// BenchmarkOneRouteChanged measures a whole pass after one router of many was edited, another one each time.
func BenchmarkOneRouteChanged(b *testing.B) {
	for _, size := range []struct{ nodes, pods, backends int }{{300, 2, 10}, {500, 20, 30}} {
		b.Run(fmt.Sprintf("%d nodes x %d pods x %d backends", size.nodes, size.pods, size.backends), func(b *testing.B) {
			o := fleet(size.nodes, size.pods, size.backends)
			p := pipeline.New(nil, time.Now)
			p.Step(o)
			var compiling, translating time.Duration
			for i := 0; b.Loop(); i++ {
				editRouter(o, 7*i, "n1", int64(1+i%50))
				s := p.Step(o)
				compiling += s.Compile
				translating += s.Translate
			}
			b.ReportMetric(float64(compiling.Microseconds())/float64(b.N), "compile-us/op")
			b.ReportMetric(float64(translating.Microseconds())/float64(b.N), "translate-us/op")
		})
	}
}

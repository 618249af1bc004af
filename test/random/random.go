package random

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Generator makes sets. Equal seeds make equal sets.
type Generator struct {
	r *rand.Rand
	// Certificates is the folder that file certificates are said to be in: tls.crt and tls.key.
	Certificates string
	names        []string
	clock        int64
}

// New returns a generator.
func New(seed uint64) *Generator {
	return &Generator{r: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)), Certificates: "/certs", names: []string{"a", "b", "c", "d", "e", "f"}}
}

// Objects makes one set: a mesh or three, some of every kind, pods, Services and their slices.
func (g *Generator) Objects() *input.Objects {
	o := &input.Objects{
		Namespaces: []input.Namespace{{Name: "ns", Labels: map[string]string{"mesh": "m"}}, {Name: "other", Labels: map[string]string{"mesh": "m"}}},
		Settings:   input.Settings{EgressExempt: []string{"*.amazonaws.com"}, BackendGroups: g.chance(80)},
	}
	first := several[meshv1beta2.Mesh](g, 1, 1)[0]
	first.Name, first.Spec.AWSName, first.Spec.NamespaceSelector = "m", nil, &metav1.LabelSelector{}
	first.Namespace = ""
	input.Add(o, first)
	if g.chance(5) {
		input.Add(o, several[meshv1beta2.Mesh](g, 1, 2)...)
	}
	input.Add(o, several[meshv1beta2.VirtualNode](g, 1, 6)...)
	input.Add(o, several[meshv1beta2.VirtualService](g, 1, 6)...)
	input.Add(o, several[meshv1beta2.VirtualRouter](g, 0, 5)...)
	input.Add(o, several[meshv1beta2.Route](g, 0, 3)...)
	input.Add(o, several[meshv1beta2.VirtualGateway](g, 0, 2)...)
	input.Add(o, several[meshv1beta2.GatewayRoute](g, 0, 6)...)
	input.Add(o, several[meshv1beta2.BackendGroup](g, 0, 2)...)
	for v := range input.All[*meshv1beta2.VirtualGateway](o) {
		if g.chance(80) {
			v.Spec.NamespaceSelector, v.Spec.GatewayRouteSelector = &metav1.LabelSelector{}, nil
		}
	}
	g.cluster(o)
	return o
}

// cluster adds what is not ours.
func (g *Generator) cluster(o *input.Objects) {
	for i := range g.r.IntN(8) {
		name := g.name()
		p := &input.Pod{
			UID: fmt.Sprint("pod-", i), Namespace: "ns", Name: fmt.Sprint("pod-", i), Labels: map[string]string{"app": name},
			IPs: []string{fmt.Sprintf("10.0.0.%d", i+1)}, Ready: g.chance(80), Running: true, Terminating: g.chance(10),
			Node: "mesh/m/" + []string{"virtualNode", "virtualNode", "virtualGateway"}[g.r.IntN(3)] + "/" + name + "_ns",
		}
		if g.chance(30) {
			p.IPs = append(p.IPs, fmt.Sprintf("fd00::%d", i+1))
		}
		p.Profile.SDS = g.chance(30)
		o.Pods = append(o.Pods, p)
	}
	for _, name := range g.names {
		if g.chance(50) {
			continue
		}
		o.Services = append(o.Services, &input.Service{
			Namespace: "ns", Name: name, ClusterIPs: []string{"10.1.0." + fmt.Sprint(1+g.r.IntN(200))},
			Ports: []input.ServicePort{{Name: "p", Port: 8080, Target: 8080}, {Name: "q", Port: 8081, TargetName: "named"}},
		})
		o.Slices = append(o.Slices, &input.Slice{
			Namespace: "ns", Service: name, Ports: map[string]uint32{"p": 8080, "q": 9090},
			Endpoints: []input.SliceEndpoint{{Address: "10.2.0.1", Ready: g.chance(70)}, {Address: "10.2.0.2", Ready: true, Zone: "z"}},
		})
	}
	if g.chance(50) {
		pair := input.KeyPair{}
		o.Certificates = input.Certificates{
			Leaves: map[mesh.Object]input.KeyPair{{Kind: "VirtualNode", Namespace: "ns", Name: "a"}: pair},
			Mapped: map[input.Mapping][]input.MappedSecret{{Mesh: "m", Name: "arn:aws:acm:x:1:certificate/c"}: {{Secret: "s", Namespaces: []string{"ns"}, KeyPair: pair}}},
		}
	}
}

// Shuffle puts everything into another order, which must not matter.
func (g *Generator) Shuffle(o *input.Objects) *input.Objects {
	out := *o
	v := reflect.ValueOf(&out).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Slice {
			continue
		}
		c := reflect.MakeSlice(f.Type(), f.Len(), f.Len())
		for to, from := range g.r.Perm(f.Len()) {
			c.Index(to).Set(f.Index(from))
		}
		f.Set(c)
	}
	return &out
}

func several[T any, P interface {
	*T
	meshv1beta2.Object
}](g *Generator, least, most int) []P {
	var out []P
	taken := map[string]bool{}
	for range least + g.r.IntN(most-least+1) {
		var o P = new(T)
		g.fill(reflect.ValueOf(o).Elem().FieldByName("Spec"), "")
		g.clock++
		o.SetNamespace("ns")
		if g.chance(10) {
			o.SetNamespace("other")
		}
		o.SetName(g.name())
		if key := o.GetNamespace() + "/" + o.GetName(); taken[key] {
			continue
		} else {
			taken[key] = true
		}
		o.SetUID(types.UID(fmt.Sprintf("%T-%s-%s", o, o.GetNamespace(), o.GetName())))
		o.SetGeneration(g.clock)
		o.SetCreationTimestamp(metav1.NewTime(time.Unix(int64(g.r.IntN(5)), 0)))
		o.SetLabels(map[string]string{"app": g.name()})
		if ref := o.Common().MeshRef; ref != nil {
			*ref = nil
		}
		out = append(out, o)
	}
	return out
}

func (g *Generator) chance(percent int) bool { return g.r.IntN(100) < percent }
func (g *Generator) name() string            { return g.names[g.r.IntN(len(g.names))] }
func pick[T any](g *Generator, list ...T) T  { return list[g.r.IntN(len(list))] }

// fill sets a value and everything in it; field is the name of the field that holds it.
func (g *Generator) fill(v reflect.Value, field string) {
	switch v.Interface().(type) {
	case meshv1beta2.Reference:
		ref := meshv1beta2.Reference{Name: g.name()}
		if g.chance(15) {
			ns := pick(g, "ns", "other", "nowhere", "")
			ref.Namespace = &ns
		}
		if field == "BackendGroups" && g.chance(30) {
			ref.Name = "*"
		}
		v.Set(reflect.ValueOf(ref))
		return
	case metav1.LabelSelector:
		s := metav1.LabelSelector{MatchLabels: map[string]string{"app": g.name()}}
		if g.chance(3) {
			s.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Wrong"}}
		}
		v.Set(reflect.ValueOf(s))
		return
	case meshv1beta2.VirtualGatewayReference, meshv1beta2.MeshReference:
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if g.chance(g.absent(field)) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		g.fill(v.Elem(), field)
	case reflect.Struct:
		g.fields(v)
	case reflect.Slice:
		n := g.r.IntN(3)
		if slices.Contains([]string{"Listeners", "WeightedTargets", "Backends", "Routes"}, field) && g.chance(85) {
			n++
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			g.fill(v.Index(i), field)
		}
	case reflect.String:
		v.SetString(g.text(v.Type().Name(), field))
	case reflect.Int64, reflect.Int32, reflect.Int:
		v.SetInt(g.number(field))
	case reflect.Bool:
		v.SetBool(g.chance(50))
	}
}

// absent is how often an optional field is left out, in percent.
func (g *Generator) absent(field string) int {
	switch {
	case strings.HasSuffix(field, "ARN"), field == "AWSName":
		return 92
	case strings.HasSuffix(field, "Ref"), field == "PodSelector", field == "ServiceDiscovery", field == "DNS", field == "Provider", field == "VirtualRouter":
		return 8
	case field == "Enforce", field == "HTTPRoute", field == "Prefix":
		return 40
	default:
		return 65
	}
}

// fields fills a struct. Of a union mostly one member stays.
func (g *Generator) fields(v reflect.Value) {
	var set []int
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Name == "MeshRef" || !f.IsExported() {
			continue
		}
		g.fill(v.Field(i), f.Name)
		if v.Field(i).Kind() == reflect.Pointer && !v.Field(i).IsNil() {
			set = append(set, i)
		}
	}
	if !slices.Contains(unions, v.Type().Name()) || len(set) < 2 || g.chance(4) {
		return
	}
	keep := pick(g, set...)
	for _, i := range set {
		if i != keep && v.Field(i).Type().Elem().Kind() == reflect.Struct || i != keep && v.Type().Name() != "RouteBody" {
			if name := v.Type().Field(i).Name; name != "Priority" {
				v.Field(i).SetZero()
			}
		}
	}
}

// unions are the types of which one field should be set.
var unions = []string{
	"RouteBody", "ValueMatch", "PathMatch", "HostnameMatch", "ListenerTLSCertificate", "ClientTLSCertificate", "TLSTrust", "ListenerTLSTrust",
	"ServiceDiscovery", "VirtualServiceProvider", "ConnectionPool", "VirtualGatewayConnectionPool", "GatewayRouteVirtualService",
	"WeightedTarget", "LoggingFormat", "ListenerTimeout",
}

// words are values by type or by field; what is not here is one of the names.
var words = map[string][]string{
	"Protocol":         {"http", "http", "http2", "grpc", "tcp"},
	"TLSMode":          {"STRICT", "PERMISSIVE", "DISABLED"},
	"EgressFilterType": {"ALLOW_ALL", "DROP_ALL"},
	"DefaultRewrite":   {"ENABLED", "DISABLED"},
	"DNSResponseType":  {"LOADBALANCER", "ENDPOINTS"},
	"DurationUnit":     {"s", "ms"},
	"IPPreference":     {"IPv4_ONLY", "IPv6_ONLY"},
	"Hostname":         {"a.ns.svc.cluster.local", "b.ns", "c", "d.ns.svc.cluster.local.", "outside.example.com", "192.0.2.1", "fd00::1", "localhost", "", "bad host", "UPPER.example.com"},
	"Prefix":           {"/", "/", "/a", "/a/", "/ab", "", "x", "/%20", "/ü"},
	"Exact":            {"/", "/a", "v", "a.example.com", "*.example.com", "*", "", "A.Example.COM"},
	"Suffix":           {".example.com", "*.example.com", "com", "", "*", "-x"},
	"Regex":            {".*", "/[a-z]+", "a|b", "(?=x)", "(", "^x$", "\\d+"},
	"Method":           {"GET", "POST", "CONNECT", ""},
	"Scheme":           {"http", "https"},
	"ServiceName":      {"pkg.Service", "S", "", "a"},
	"MethodName":       {"Call", ""},
	"Path":             {"/dev/stdout", "/tmp/access.log", "/nowhere/x", "/ping", "/"},
	"Text":             {"%START_TIME%\n", "%PROTOCOL% plain", "%WRONG%", "%REQ(X)%", ""},
	"Value":            {"%RESPONSE_CODE%", "x", "%", "/red/", "red"},
	"Key":              {"k", "AVAILABILITY_ZONE", "app"},
	"SecretName":       {"spiffe://demo/a", "b"},
	"CertificateARN":   {"arn:aws:acm:x:1:certificate/c", "nonsense"},
	"AWSName":          {"shared", "a.example.com", "UPPER", "with blank", "x:80", "a_ns", "a.ns", "A.ns", strings.Repeat("x", 300)},
	"Name":             {"x-h", "X-Header", "y", "bad name", ""},
	"HTTPRetryEvent":   {"server-error", "gateway-error", "client-error", "stream-error", "nonsense"},
	"GRPCRetryEvent":   {"cancelled", "unavailable", "internal"},
	"TCPRetryEvent":    {"connection-error"},
}

func (g *Generator) text(kind, field string) string {
	switch field {
	case "CertificateChain":
		return g.Certificates + "/tls.crt"
	case "PrivateKey":
		return g.Certificates + "/tls.key"
	case "CertificateAuthorityARNs":
		return pick(g, "arn:aws:acm-pca:x:1:certificate-authority/a", "arn:b")
	}
	if strings.HasSuffix(field, "ARN") {
		return pick(g, "arn:aws:appmesh:x:1:mesh/m/virtualNode/a_ns", "arn:aws:appmesh:x:1:mesh/m/virtualService/a.ns", "arn:aws:appmesh:x:1:mesh/m/virtualRouter/a_ns", "nonsense")
	}
	for _, key := range []string{kind, field} {
		if list := words[key]; list != nil && (key != "string") {
			return pick(g, list...)
		}
	}
	return g.name()
}

func (g *Generator) number(field string) int64 {
	switch field {
	case "Port", "Ports":
		return pick[int64](g, 8080, 8080, 8080, 8081, 8082, 443, 15000, 0, 70000, -1)
	case "Weight":
		return pick[int64](g, 0, 0, 1, 50, 100)
	case "Priority":
		return pick[int64](g, 0, 1, 1000)
	default:
		return pick[int64](g, 0, 1, 2, 5, 10, 100, 5000, 1<<31, 1<<40, -1)
	}
}

package translate

import (
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// service is one that Envoy takes, on port 80.
func service(name string) *mesh.Host {
	o := mesh.Object{Kind: "VirtualService", Namespace: "ns", Name: name}
	d := &mesh.Destination{
		Cluster: "cds_egress_m_" + name + "_http_80", Object: o, Port: 80, Protocol: mesh.HTTP, Endpoints: &mesh.Endpoints{},
	}
	return &mesh.Host{Name: name, Object: o, Domains: []string{name, name + ":80"}, Routes: []*mesh.Route{{
		Object: o, Match: mesh.Match{Path: "/"}, Targets: []mesh.Target{{Cluster: d.Cluster, Weight: 1, Destination: d}}, Retry: &mesh.Retry{},
	}}}
}

// model is one workload with the listeners.
func model(inbound, outbound []*mesh.Listener) *mesh.Model {
	w := &mesh.Workload{
		ID: mesh.WorkloadID{Mesh: "m", Name: "caller"}, Object: mesh.Object{Kind: "VirtualNode", Namespace: "ns", Name: "caller"},
		Inbound: inbound, Outbound: outbound,
	}
	for _, l := range append(inbound, outbound...) {
		for _, h := range l.Routes.Hosts {
			for _, t := range h.Routes[0].Targets {
				t.Destination.Fingerprint = mesh.Fingerprint(t.Destination)
				w.Destinations = append(w.Destinations, t.Destination)
			}
			h.Fingerprint = mesh.Fingerprint(h)
		}
		l.Routes.Seal()
	}
	w.Fingerprint = mesh.Fingerprint(w)
	return &mesh.Model{Workloads: []*mesh.Workload{w}, Groups: []*mesh.Group{{ID: "g", Workload: w, Profile: mesh.Profile{IPv4: true}}}}
}

// caller is a workload that calls the services.
func caller(services ...*mesh.Host) *mesh.Model {
	return model(nil, []*mesh.Listener{{
		Port: 80, StatPrefix: "egress", Chains: []mesh.Chain{{Name: "egress"}},
		RouteConfiguration: outgoing, Routes: &mesh.Routes{Hosts: services},
	}})
}

// edge is a workload that leads requests from outside to the services.
func edge(services ...*mesh.Host) *mesh.Model {
	return model([]*mesh.Listener{{
		Port: 8080, Direct: true, StatPrefix: "ingress", Chains: []mesh.Chain{{Name: "ingress"}}, Edge: &mesh.Edge{},
		RouteConfiguration: incoming, Routes: &mesh.Routes{Hosts: services, IgnorePort: true},
	}}, nil)
}

const outgoing, incoming = "outgoing", "incoming"

func hosts(t *testing.T, set *xds.Set, name string) []string {
	t.Helper()
	r := set.Get(xds.RouteType, name)
	if r == nil {
		t.Fatalf("there is no route configuration %s", name)
	}
	rc, err := decode[*routev3.RouteConfiguration](r)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range rc.VirtualHosts {
		if len(h.Routes) > 0 {
			out = append(out, h.Name)
		}
	}
	return out
}

// TestTheCulpritAloneIsLeftOut gives translate what compile never lets through.
func TestTheCulpritAloneIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(*mesh.Host)
	}{
		{"a name that no header can hold", func(h *mesh.Host) { h.Name, h.Domains = "bad\nname", []string{"bad\nname"} }},
		{"the name of another service", func(h *mesh.Host) { h.Name, h.Domains = "GOOD", []string{"GOOD"} }},
		{"the name and port of another service", func(h *mesh.Host) { h.Name, h.Domains = "good:80", []string{"good:80"} }},
		{"a route by a header without a name", func(h *mesh.Host) {
			h.Routes[0].Match.Headers = []mesh.ValueMatch{{Kind: mesh.Exact, Value: "x"}}
		}},
		{"a cluster that Envoy refuses", func(h *mesh.Host) {
			d := h.Routes[0].Targets[0].Destination
			d.Outlier = &mesh.Outlier{MaxEjectionPercent: 1000}
		}},
		{"an endpoint that is no address", func(h *mesh.Host) {
			h.Routes[0].Targets[0].Destination.Endpoints = &mesh.Endpoints{List: []mesh.Endpoint{{Address: "no address", Port: 80}}}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			bad := service("bad")
			c.spoil(bad)
			culprit := bad.Object
			for name, m := range map[string]*mesh.Model{
				outgoing: caller(service("good"), bad, service("after")), incoming: edge(service("good"), bad, service("after")),
			} {
				var tr Translator
				sets, faults, failed := tr.Translate(m)
				if len(failed) > 0 {
					t.Fatalf("%s: the whole group failed: %v", name, failed)
				}
				if len(faults) == 0 || slices.ContainsFunc(faults, func(f Fault) bool { return f.Object != culprit }) {
					t.Errorf("%s: the faults are %v, want those of %s only", name, faults, culprit)
				}
				got := hosts(t, sets["g"], name)
				if !slices.Contains(got, "good") || !slices.Contains(got, "after") {
					t.Errorf("%s: only %v are served", name, got)
				}
				for _, cluster := range []string{"cds_egress_m_good_http_80", "cds_egress_m_after_http_80"} {
					if sets["g"].Get(xds.ClusterType, cluster) == nil {
						t.Errorf("%s: no cluster %s", name, cluster)
					}
				}
				again, faultsAgain, _ := tr.Translate(m)
				if again["g"] != sets["g"] || !slices.Equal(faults, faultsAgain) {
					t.Errorf("%s: the next pass says something else", name)
				}
			}
		})
	}
}

func TestAChainThatTakesAnothersConnectionsIsLeftOut(t *testing.T) {
	m := caller(service("good"))
	w := m.Workloads[0]
	for _, name := range []string{"one", "two"} {
		h := service(name)
		w.Destinations = append(w.Destinations, h.Routes[0].Targets[0].Destination)
		w.Outbound = append(w.Outbound, &mesh.Listener{
			Port: 80, Object: h.Object, StatPrefix: "egress", Targets: h.Routes[0].Targets,
			Chains: []mesh.Chain{{Name: name, Addresses: []string{"10.0.0.1"}}},
		})
	}
	w.Fingerprint = mesh.Fingerprint(w)
	var tr Translator
	sets, faults, failed := tr.Translate(m)
	if len(failed) > 0 || len(faults) != 1 || faults[0].Object.Name != "two" {
		t.Fatalf("faults %v, failed %v; want one of service two", faults, failed)
	}
	l, err := decode[*listenerv3.Listener](sets["g"].Get(xds.ListenerType, "lds_egress_0.0.0.0_15001"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(l.FilterChains); n != 2 {
		t.Errorf("%d chains are left, want 2", n)
	}
}

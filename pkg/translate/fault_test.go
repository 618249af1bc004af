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
func service(name string) *mesh.Service {
	o := mesh.Object{Kind: "VirtualService", Namespace: "ns", Name: name}
	d := &mesh.Destination{Cluster: "cds_egress_m_" + name + "_http_80", Object: o, Port: 80, Protocol: mesh.HTTP, Endpoints: &mesh.Endpoints{}}
	d.Fingerprint = mesh.Fingerprint(d)
	return &mesh.Service{Name: name, Object: o, Ports: []*mesh.ServicePort{{Port: 80, Protocol: mesh.HTTP, Routes: []*mesh.Route{{
		Object: o, Match: mesh.Match{Path: "/"}, Targets: []mesh.Target{{Cluster: d.Cluster, Weight: 1, Destination: d}}, Retry: &mesh.Retry{},
	}}}}}
}

// caller is a workload that calls the services.
func caller(services ...*mesh.Service) *mesh.Model {
	w := &mesh.Workload{ID: mesh.WorkloadID{Mesh: "m", Name: "caller"}, Object: mesh.Object{Kind: "VirtualNode", Namespace: "ns", Name: "caller"}, Egress: mesh.Egress{AllowAll: true}}
	out := &mesh.OutboundPort{Port: 80, Protocol: mesh.HTTP}
	for _, s := range services {
		s.Fingerprint = mesh.Fingerprint(s)
		w.Backends = append(w.Backends, mesh.Backend{Service: s})
		out.HTTP = append(out.HTTP, mesh.OutboundService{Service: s, Port: s.Ports[0]})
	}
	w.Outbound = []*mesh.OutboundPort{out}
	w.Fingerprint = mesh.Fingerprint(w)
	return &mesh.Model{Workloads: []*mesh.Workload{w}, Groups: []*mesh.Group{{ID: "g", Workload: w, Profile: mesh.Profile{IPv4: true}}}}
}

// door is a gateway that leads every service's name to the service.
func door(services ...*mesh.Service) *mesh.Model {
	w := &mesh.Workload{
		ID: mesh.WorkloadID{Mesh: "m", Gateway: true, Name: "door"}, Object: mesh.Object{Kind: "VirtualGateway", Namespace: "ns", Name: "door"},
		Listeners: []*mesh.Listener{{Port: 8080, Protocol: mesh.HTTP}}, Gateway: &mesh.Gateway{Protocol: mesh.HTTP, Entrances: []*mesh.Entrance{{Port: 8080, Protocol: mesh.HTTP}}},
	}
	for _, s := range services {
		s.Fingerprint = mesh.Fingerprint(s)
		w.Backends = append(w.Backends, mesh.Backend{Service: s})
		gs := &mesh.GatewayService{Service: s}
		for _, r := range s.Ports[0].Routes {
			gs.Routes = append(gs.Routes, mesh.GatewayServiceRoute{Route: r})
		}
		w.Gateway.Services = append(w.Gateway.Services, gs)
		w.Gateway.Entrances[0].Hosts = append(w.Gateway.Entrances[0].Hosts, &mesh.GatewayHost{Domains: []string{s.Name}, Routes: []*mesh.GatewayRoute{{
			Name: s.Name, Object: s.Object, Match: s.Ports[0].Routes[0].Match, Service: s,
		}}})
	}
	w.Fingerprint = mesh.Fingerprint(w)
	return &mesh.Model{Workloads: []*mesh.Workload{w}, Groups: []*mesh.Group{{ID: "g", Workload: w, Profile: mesh.Profile{IPv4: true}}}}
}

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
		spoil func(*mesh.Service)
	}{
		{"a name that no header can hold", func(s *mesh.Service) { s.Name = "bad\nname" }},
		{"the name of another service", func(s *mesh.Service) { s.Name = "GOOD" }},
		{"the name and port of another service", func(s *mesh.Service) { s.Name = "good:80" }},
		{"a route by a header without a name", func(s *mesh.Service) {
			s.Ports[0].Routes[0].Match.Headers = []mesh.ValueMatch{{Kind: mesh.Exact, Value: "x"}}
		}},
		{"a cluster that Envoy refuses", func(s *mesh.Service) {
			d := s.Ports[0].Routes[0].Targets[0].Destination
			d.Outlier = &mesh.Outlier{MaxEjectionPercent: 1000}
			d.Fingerprint = mesh.Hash{}
			d.Fingerprint = mesh.Fingerprint(d)
		}},
		{"an endpoint that is no address", func(s *mesh.Service) {
			s.Ports[0].Routes[0].Targets[0].Destination.Endpoints = &mesh.Endpoints{List: []mesh.Endpoint{{Address: "no address", Port: 80}}}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			bad := service("bad")
			c.spoil(bad)
			culprit := bad.Object
			for name, m := range map[string]*mesh.Model{"rds_egress_http_80": caller(service("good"), bad, service("after")), "rds_ingress_http_8080": door(service("good"), bad, service("after"))} {
				if name == "rds_ingress_http_8080" && bad.Name == "good:80" {
					continue // that is no other host's domain at a gateway
				}
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
		s := service(name)
		s.Ports[0].Protocol = mesh.TCP
		w.Outbound[0].TCP = append(w.Outbound[0].TCP, mesh.OutboundService{Service: s, Port: s.Ports[0], Addresses: []string{"10.0.0.1"}})
	}
	w.Fingerprint = mesh.Fingerprint(w)
	var tr Translator
	sets, faults, failed := tr.Translate(m)
	if len(failed) > 0 || len(faults) != 1 || faults[0].Object.Name != "two" {
		t.Fatalf("faults %v, failed %v; want one of service two", faults, failed)
	}
	l, err := decode[*listenerv3.Listener](sets["g"].Get(xds.ListenerType, outboundListener))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(l.FilterChains); n != 4 { // http, one, and the two closed ones
		t.Errorf("%d chains are left, want 4", n)
	}
}

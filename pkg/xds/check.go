package xds

import (
	"fmt"
	"net/netip"
	"strings"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// check finds the faults of route configurations and assignments that the generated checks do not know. Of these two types
// Envoy applies an unspecified part of a response with one fault in it; of the others it leaves out just the bad one.
func check(m proto.Message) error {
	switch m := m.(type) {
	case *routev3.RouteConfiguration:
		return checkDomains(m)
	case *endpointv3.ClusterLoadAssignment:
		return checkAddresses(m)
	}
	return nil
}

// checkDomains refuses a domain or the name of a virtual host that occurs twice. Envoy compares domains without case.
func checkDomains(m *routev3.RouteConfiguration) error {
	hosts, domains := map[string]bool{}, map[string]bool{}
	for _, h := range m.GetVirtualHosts() {
		if hosts[h.GetName()] {
			return fmt.Errorf("virtual host %q occurs twice", h.GetName())
		}
		hosts[h.GetName()] = true
		for _, d := range h.GetDomains() {
			d = strings.ToLower(d)
			if domains[d] {
				return fmt.Errorf("domain %q occurs twice", d)
			}
			domains[d] = true
		}
	}
	return nil
}

// checkAddresses refuses an endpoint that is not an IP address: assignments are not resolved.
func checkAddresses(m *endpointv3.ClusterLoadAssignment) error {
	for _, l := range m.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			address := e.GetEndpoint().GetAddress().GetSocketAddress()
			if address == nil {
				continue // a pipe
			}
			if _, err := netip.ParseAddr(address.GetAddress()); err != nil {
				return fmt.Errorf("endpoint %q is not an IP address", address.GetAddress())
			}
		}
	}
	return nil
}

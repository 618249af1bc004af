package validate_test

import (
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

func TestTheAdminPortIsTheConfiguredOne(t *testing.T) {
	t.Parallel()
	node := func(port int64) *meshv1beta2.VirtualNode {
		return &meshv1beta2.VirtualNode{Spec: meshv1beta2.VirtualNodeSpec{
			Listeners:        []meshv1beta2.Listener{{PortMapping: meshv1beta2.PortMapping{Port: port, Protocol: meshv1beta2.ProtocolHTTP}}},
			ServiceDiscovery: &meshv1beta2.ServiceDiscovery{DNS: &meshv1beta2.DNSServiceDiscovery{Hostname: "h"}},
		}}
	}
	for _, c := range []struct {
		admin, port int64
		findings    int
	}{{0, 9901, 1}, {0, 9902, 0}, {9902, 9902, 1}, {9902, 9901, 0}, {9902, 15020, 1}} {
		if got := (validate.Rules{AdminPort: c.admin}).Object(node(c.port), nil); len(got) != c.findings {
			t.Errorf("admin port %d, listener %d: %v", c.admin, c.port, got)
		}
	}
}

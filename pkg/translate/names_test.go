package translate

import (
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// TestPortsAreThoseOfTheAPI holds the one copy of the ports that this package has, because it does not know the API.
func TestPortsAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	if inboundPort != meshv1beta2.PortInbound || outboundPort != meshv1beta2.PortOutbound {
		t.Errorf("ports %d and %d", inboundPort, outboundPort)
	}
}

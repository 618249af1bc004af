package attack

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// mallory is the address that attackers connect from; honest proxies have addresses of their own, and the API
// server connects from 127.0.0.1.
const mallory = "127.0.0.66"

// dial opens a connection to the xDS port from an address of loopback. It is closed with the test at the latest.
func (w *World) dial(t *testing.T, from string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	creds, err := w.Fleet.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+w.Operator.Address(), append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "tcp", address)
		}),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// stream is one delta stream under the test's control.
type stream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	end context.CancelFunc
}

// open opens a stream with a token.
func open(ctx context.Context, conn *grpc.ClientConn, token string) (*stream, error) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token))
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return &stream{s, cancel}, nil
}

// subscribe asks for names of a type, or for everything of it.
func (s *stream) subscribe(typeURL string, names ...string) error {
	return s.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: "mesh/" + meshName + "/virtualNode/any"}, TypeUrl: typeURL, ResourceNamesSubscribe: names,
	})
}

// next receives a response of the type, acknowledging others, and gives up after some time.
func (s *stream) next(typeURL string, within time.Duration) (*discoveryv3.DeltaDiscoveryResponse, error) {
	timer := time.AfterFunc(within, s.end)
	defer timer.Stop()
	for {
		m, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if m.GetTypeUrl() == typeURL {
			return m, nil
		}
		if err := s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}); err != nil {
			return nil, err
		}
	}
}

// fetch opens a stream for a pod, subscribes to names of a type (none for everything of a wildcard type) and returns what it gets first.
func (w *World) fetch(t *testing.T, p pod, typeURL string, names ...string) (*discoveryv3.DeltaDiscoveryResponse, error) {
	t.Helper()
	s, err := open(t.Context(), w.dial(t, mallory), p.Token)
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.subscribe(typeURL, names...); err != nil {
		return nil, err
	}
	return s.next(typeURL, patience)
}

// names lists what a response carries.
func names(m *discoveryv3.DeltaDiscoveryResponse) string {
	var out []string
	for _, r := range m.GetResources() {
		out = append(out, r.GetName())
	}
	return fmt.Sprintf("%s (removed: %s)", strings.Join(out, ", "), strings.Join(m.GetRemovedResources(), ", "))
}

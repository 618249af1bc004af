package bootstrap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

const serverName = "aftermesh.aftermesh-system.svc"

// controlPlane is a small real ADS server: it answers every subscription with nothing, so that Envoy becomes ready, and
// notes the authorization of each stream.
type controlPlane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	port uint16
	ca   string
	// listeners are all that it serves.
	listeners []*listenerv3.Listener

	mu     sync.Mutex
	tokens []string
	nodes  []string
	hangUp context.CancelFunc
	until  context.Context
	// stop ends the server for good.
	stop func()
}

// serve starts a control plane whose certificate names dns, and stops it with the test.
func serve(t *testing.T, dns string) *controlPlane {
	t.Helper()
	pair, ca := certificate(t, dns)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &controlPlane{port: uint16(listener.Addr().(*net.TCPAddr).Port), ca: ca}
	c.closeStreams()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
	})))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	c.stop = server.Stop
	return c
}

// closeStreams ends all open streams; new ones are served.
func (c *controlPlane) closeStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hangUp != nil {
		c.hangUp()
	}
	c.until, c.hangUp = context.WithCancel(context.Background())
}

// authorizations are the values of the header, one per stream, joined by a comma where a stream carried several.
func (c *controlPlane) authorizations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.tokens...)
}

// last is the authorization of the newest stream.
func (c *controlPlane) last() string {
	if all := c.authorizations(); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// nodeID is what the newest stream called itself.
func (c *controlPlane) nodeID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.nodes) == 0 {
		return ""
	}
	return c.nodes[len(c.nodes)-1]
}

func (c *controlPlane) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	c.mu.Lock()
	c.tokens = append(c.tokens, strings.Join(md.Get("authorization"), ","))
	until := c.until
	c.mu.Unlock()

	failed := make(chan error, 1)
	go func() { failed <- c.answer(stream) }()
	select {
	case err := <-failed:
		return err
	case <-until.Done():
		return status.Error(codes.Unavailable, "closed by the test")
	}
}

func (c *controlPlane) answer(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if node := request.GetNode(); node.GetId() != "" {
			c.mu.Lock()
			c.nodes = append(c.nodes, node.GetId())
			c.mu.Unlock()
		}
		if request.GetResponseNonce() != "" {
			continue
		}
		response := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: request.GetTypeUrl(), Nonce: "1", SystemVersionInfo: "1"}
		if request.GetTypeUrl() == "type.googleapis.com/envoy.config.listener.v3.Listener" {
			for _, l := range c.listeners {
				packed, err := anypb.New(l)
				if err != nil {
					return err
				}
				response.Resources = append(response.Resources, &discoveryv3.Resource{Name: l.GetName(), Version: "1", Resource: packed})
			}
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

// certificate makes a self-signed root that is its own server certificate for dns.
func certificate(t *testing.T, dns string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, DNSNames: []string{dns},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// encodePair is a certificate and its key in PEM.
func encodePair(t *testing.T, pair tls.Certificate) (chain, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// settings are those of an ordinary sidecar whose control plane is c and whose token lies in folder.
func settings(t *testing.T, c *controlPlane, folder *credentialFolder) bootstrap.Settings {
	t.Helper()
	return bootstrap.Settings{
		NodeID: "mesh/demo/virtualNode/front_demo",
		Metadata: map[string]string{
			"pod": bootstrap.PodName, "namespace": bootstrap.PodNamespace, "podUid": bootstrap.PodUID,
			"podIPs": bootstrap.PodIPs, "nodeName": bootstrap.NodeName,
		},
		Locality: bootstrap.Locality{Region: bootstrap.Region, Zone: bootstrap.Zone},
		ControlPlane: bootstrap.ControlPlane{
			Host: "127.0.0.1", Port: c.port, ServerName: serverName, CA: c.ca,
			CredentialDir: folder.path, CredentialFile: folder.file("credential.json"),
		},
		Admin:      bootstrap.Admin{Port: freePort(t), Pipe: t.TempDir() + "/admin.sock"},
		OutlierLog: "/dev/null",
	}
}

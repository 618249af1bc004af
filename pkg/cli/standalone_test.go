package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

func TestStandaloneAsksForProofBeyondLoopback(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := keyPair(t, dir)
	write(t, filepath.Join(dir, "tokens"), "# who may be what\nsecret mesh/demo/virtualNode/front_demo\n")
	folder := filepath.Join(dir, "manifests")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "m.yaml"), manifests)
	address := freeAddress(t)
	s := standalone{dir: folder, namespace: "default", log: io.Discard, access: access{
		listen: address, certificate: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"), tokenFile: filepath.Join(dir, "tokens"),
	}}
	start(t, &s)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "localhost"})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, c := range []struct {
		name, token, node string
		want              codes.Code
	}{
		{"the right token for the right node", "secret", "mesh/demo/virtualNode/front_demo", codes.OK},
		{"the right token for another node", "secret", "mesh/demo/virtualNode/other_demo", codes.PermissionDenied},
		{"a wrong token", "guess", "mesh/demo/virtualNode/front_demo", codes.Unauthenticated},
		{"no token", "", "mesh/demo/virtualNode/front_demo", codes.Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ask(t, conn, c.token, c.node); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// ask asks for clusters and returns how that ended.
func ask(t *testing.T, conn *grpc.ClientConn, token, node string) codes.Code {
	t.Helper()
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		return status.Code(err)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.ClusterType, Node: &corev3.Node{Id: node}}); err != nil && !errors.Is(err, io.EOF) {
		return status.Code(err)
	}
	_, err = stream.Recv()
	return status.Code(err)
}

func TestCredentialsOfStandaloneThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]access{
		"two ways at once":        {clientCA: "a", tokenFile: "b", certificate: "c", key: "d"},
		"a key without its chain": {key: "d"},
		"tokens in clear text":    {tokenFile: "b"},
		"a chain that is missing": {certificate: "/nowhere.crt", key: "/nowhere.key"},
	} {
		if _, _, err := a.authenticator(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// keyPair writes a server's certificate for localhost and returns the authority that issued it.
func keyPair(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	authority, err := identity.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issuer := identity.NewIssuer(authority, identity.Names{DNS: []string{"localhost"}}, time.Hour, time.Now)
	c, err := issuer.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	return issuer.Pool()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Package sds is a provider of secrets for tests, as SPIRE's agent is one on a node: proxies ask it over a Unix socket by the names
// that App Mesh users wrote, and get an answer as soon as the name is known.
package sds

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// Provider answers for the names that were set. It is safe for concurrent use.
type Provider struct {
	secretv3.UnimplementedSecretDiscoveryServiceServer
	server *grpc.Server

	mu      sync.Mutex
	secrets map[string]*tlsv3.Secret
}

// Listen starts a provider on a Unix socket that everybody may use; the folder is made if it is missing.
func Listen(socket string) (*Provider, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		return nil, err
	}
	p := &Provider{server: grpc.NewServer(), secrets: map[string]*tlsv3.Secret{}}
	secretv3.RegisterSecretDiscoveryServiceServer(p.server, p)
	go func() { _ = p.server.Serve(l) }() // ends with Close
	return p, nil
}

// Close ends all streams and removes the socket.
func (p *Provider) Close() { p.server.Stop() }

// SetCertificate makes a name known as a certificate with its key, both PEM.
func (p *Provider) SetCertificate(name string, chain, key []byte) {
	p.set(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inline(chain), PrivateKey: inline(key)}}})
}

// SetTrust makes a name known as certificates to trust, PEM.
func (p *Provider) SetTrust(name string, bundle []byte) {
	p.set(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(bundle)}}})
}

func (p *Provider) set(s *tlsv3.Secret) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[s.Name] = s
}

func (p *Provider) get(name string) *tlsv3.Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.secrets[name]
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// StreamSecrets answers each name that is asked for, once it is known.
func (p *Provider) StreamSecrets(s secretv3.SecretDiscoveryService_StreamSecretsServer) error {
	requests := make(chan *discoveryv3.DiscoveryRequest)
	go func() {
		defer close(requests)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			select {
			case requests <- r:
			case <-s.Context().Done():
				return
			}
		}
	}()
	const pause = 50 * time.Millisecond
	sent := map[string]*tlsv3.Secret{}
	for version := 0; ; version++ {
		select {
		case r, ok := <-requests:
			if !ok {
				return nil
			}
			for _, name := range r.ResourceNames {
				if _, known := sent[name]; !known {
					sent[name] = nil
				}
			}
		case <-time.After(pause):
		}
		for name, before := range sent {
			secret := p.get(name)
			if secret == before {
				continue
			}
			sent[name] = secret
			a, err := anypb.New(secret)
			if err != nil {
				return err
			}
			v := fmt.Sprint(version)
			if err := s.Send(&discoveryv3.DiscoveryResponse{VersionInfo: v, Nonce: v, Resources: []*anypb.Any{a}, TypeUrl: a.TypeUrl}); err != nil {
				return err
			}
		}
	}
}

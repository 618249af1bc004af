package apiserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/aftermesh/aftermesh/test/cluster"
)

// Server is a running API server.
type Server struct {
	// URL is its address on loopback.
	URL string
	// Kubeconfig is the path of a kubeconfig whose user is in system:masters.
	Kubeconfig string
	// CA, Cert and Key are PEM: the server's root and the administrator's pair.
	CA, Cert, Key []byte

	bare *cluster.Bare
}

// Start starts an API server for one test and stops it when the test ends. Flags are added to kube-apiserver's.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	s, err := New(t.Context(), flags...)
	if err != nil {
		t.Fatalf("API server: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop API server: %v", err)
		}
	})
	return s
}

// New starts an API server for a TestMain, which must call Stop.
func New(ctx context.Context, flags ...string) (*Server, error) {
	l, err := cluster.Find()
	if err != nil {
		return nil, err
	}
	b, err := l.StartBare(ctx, cluster.BareOptions{Flags: flags, Bound: true, Progress: cluster.NewProgress(os.Stderr)})
	if err != nil {
		return nil, err
	}
	s := &Server{URL: b.URL, Kubeconfig: b.Kubeconfig, bare: b}
	for file, target := range map[string]*[]byte{"ca.crt": &s.CA, "admin.crt": &s.Cert, "admin.key": &s.Key} {
		if *target, err = os.ReadFile(filepath.Join(b.Dir, "pki", file)); err != nil {
			return nil, fmt.Errorf("keys of the API server: %w", err)
		}
	}
	return s, nil
}

// Config returns a client configuration of the administrator, without client-side rate limit.
func (s *Server) Config() *rest.Config {
	return &rest.Config{Host: s.URL, QPS: -1, Timeout: 30 * time.Second,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CA, CertData: s.Cert, KeyData: s.Key}}
}

// LogDir returns the folder with etcd.log and kube-apiserver.log.
func (s *Server) LogDir() string { return filepath.Join(s.bare.Dir, "logs") }

// Stop ends both processes and removes their data.
func (s *Server) Stop() error { return s.bare.Stop() }

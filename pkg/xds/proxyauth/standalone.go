package proxyauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Certificates authenticates by a client certificate, which the TLS layer has verified: a proxy may be the nodes that its
// certificate names, by common name or as the path of a URI.
type Certificates struct{}

// Authenticate implements xds.Authenticator.
func (Certificates) Authenticate(ctx context.Context, node *corev3.Node) (xds.Proxy, error) {
	var info credentials.TLSInfo
	if p, ok := peer.FromContext(ctx); ok {
		info, _ = p.AuthInfo.(credentials.TLSInfo)
	}
	if len(info.State.VerifiedChains) == 0 {
		return xds.Proxy{}, status.Error(codes.Unauthenticated, "no client certificate")
	}
	leaf := info.State.VerifiedChains[0][0]
	p, err := oneOf(certificateNames(leaf), node.GetId(), "the client certificate")
	p.Expires = leaf.NotAfter
	return p, err
}

// certificateNames are the nodes that a certificate names.
func certificateNames(c *x509.Certificate) []string {
	names := []string{c.Subject.CommonName}
	for _, u := range c.URIs {
		names = append(names, strings.TrimPrefix(u.Path, "/"))
	}
	return names
}

// oneOf lets a proxy be the node that it claims to be, if that is among those that its credential is valid for.
func oneOf(allowed []string, claimed, credential string) (xds.Proxy, error) {
	id, err := parseNodeID(claimed)
	if err != nil {
		return xds.Proxy{}, err
	}
	good := slices.ContainsFunc(allowed, func(name string) bool {
		name, err := parseNodeID(name)
		return err == nil && name == id
	})
	if !good {
		return xds.Proxy{}, status.Errorf(codes.PermissionDenied, "%s is not good for node %q", credential, id)
	}
	return xds.Proxy{ID: id}, nil
}

// TokenFile authenticates by bearer tokens from a file with lines «token node-id»; empty lines and those that begin with # do
// not count. A token may stand on several lines. The file is read again when it has changed; while it cannot be read, what was
// read last counts. It is safe for concurrent use.
type TokenFile struct {
	path string

	mu sync.Mutex
	// nodes are by the hash of the token, so that looking one up takes no time that depends on the others.
	nodes    map[[sha256.Size]byte][]string
	modified time.Time
	size     int64
}

// NewTokenFile reads the file. The error names the line that is wrong, never what stands on it.
func NewTokenFile(path string) (*TokenFile, error) {
	f := &TokenFile{path: path}
	return f, f.read()
}

// read takes the file over if it has changed.
func (f *TokenFile) read() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	if info.ModTime().Equal(f.modified) && info.Size() == f.size {
		return nil
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	nodes, err := parseTokens(b)
	if err != nil {
		return fmt.Errorf("read tokens: %s: %w", f.path, err)
	}
	f.nodes, f.modified, f.size = nodes, info.ModTime(), info.Size()
	return nil
}

func parseTokens(b []byte) (map[[sha256.Size]byte][]string, error) {
	nodes := map[[sha256.Size]byte][]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d: want a token and a node id", n)
		}
		if _, err := parseNodeID(fields[1]); err != nil {
			return nil, fmt.Errorf("line %d: %s", n, status.Convert(err).Message())
		}
		key := sha256.Sum256([]byte(fields[0]))
		nodes[key] = append(nodes[key], fields[1])
	}
	if lines.Err() != nil {
		return nil, errors.New("a line is too long")
	}
	return nodes, nil
}

// Authenticate implements xds.Authenticator.
func (f *TokenFile) Authenticate(ctx context.Context, node *corev3.Node) (xds.Proxy, error) {
	token, err := bearer(ctx)
	if err != nil {
		return xds.Proxy{}, err
	}
	f.mu.Lock()
	_ = f.read() // what was read last counts
	allowed := f.nodes[sha256.Sum256([]byte(token))]
	f.mu.Unlock()
	if len(allowed) == 0 {
		return xds.Proxy{}, status.Error(codes.Unauthenticated, "the token is not known")
	}
	return oneOf(allowed, node.GetId(), "the token")
}

package proxyauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

const cart, till = "mesh/shop/virtualNode/cart", "mesh/shop/virtualNode/till"

func TestATokenOfTheFileIsGoodForItsNodesOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# who\n\none " + cart + "\none arn:aws:appmesh:r:1:mesh/shop/virtualNode/till\ntwo " + till + "\n")
	f, err := NewTokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name, token, node string, want codes.Code) {
		t.Helper()
		p, err := f.Authenticate(header("Bearer "+token), &corev3.Node{Id: node})
		if status.Code(err) != want || want == codes.OK && p.ID != node {
			t.Errorf("%s: %+v, %v, want %v", name, p, err, want)
		}
	}
	check("a token for its node", "one", cart, codes.OK)
	check("a token for its second node, written as an ARN", "one", till, codes.OK)
	check("a token for another node", "two", cart, codes.PermissionDenied)
	check("a token that is not in the file", "three", cart, codes.Unauthenticated)
	check("a node that is none", "one", "cart", codes.InvalidArgument)
	write("three " + cart + "\n")
	check("a token that was added", "three", cart, codes.OK)
	check("a token that was taken away", "one", cart, codes.Unauthenticated)
	write("three\n" + "two " + cart + "\n\n")
	check("what was read last counts while the file is wrong", "three", cart, codes.OK)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("what was read last counts while the file is gone", "three", cart, codes.OK)
}

func TestAWrongTokenFileIsRefusedWithoutShowingTokens(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"hush\n": "line 1", "# x\nhush cart\n": "line 2", "hush " + cart + " more\n": "line 1"} {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewTokenFile(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := NewTokenFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that does not exist was read")
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}
}

// issue makes a certificate for a server on loopback or for the client that the name and URIs say.
func (a *authority) issue(t *testing.T, name string, uris ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, parsed)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestACertificateIsGoodForTheNodesItNames(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ours.issue(t, "server")}, ClientCAs: ours.pool,
		ClientAuth: tls.VerifyClientCertIfGiven,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(xds.GRPCOptions(), grpc.Creds(credentials.NewTLS(conf)))...)
	cache := xds.NewCache()
	cache.Publish(&xds.Snapshot{Sets: map[string]*xds.Set{"g": xds.NewSet()}, GroupOf: func(p string) (string, bool) { return "g", p == cart }})
	xds.NewServer(cache, Certificates{}, xds.Options{}).Register(g)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		want         codes.Code
	}{
		"by its common name":                  {[]tls.Certificate{ours.issue(t, cart)}, codes.OK},
		"by a URI":                            {[]tls.Certificate{ours.issue(t, "x", "spiffe://td/"+till, "spiffe://td/"+cart)}, codes.OK},
		"another node's":                      {[]tls.Certificate{ours.issue(t, till)}, codes.PermissionDenied},
		"one that names nothing":              {[]tls.Certificate{ours.issue(t, "")}, codes.PermissionDenied},
		"none":                                {nil, codes.Unauthenticated},
		"the right name, a wrong authority's": {[]tls.Certificate{theirs.issue(t, cart)}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			got := firstAnswer(t, l.Addr().String(), &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ours.pool, Certificates: c.certificates})
			if got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// firstAnswer says what a proxy that calls itself cart gets.
func firstAnswer(t *testing.T, address string, conf *tls.Config) codes.Code {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return status.Code(err)
	}
	_ = s.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: cart}, TypeUrl: xds.ClusterType})
	_, err = s.Recv()
	return status.Code(err)
}

// judge is a Reviewer that counts and takes its time.
type judge struct {
	asked atomic.Int32
	err   error
}

func (j *judge) Review(_ context.Context, token string) (Claims, error) {
	j.asked.Add(1)
	time.Sleep(time.Second)
	return Claims{Pod: token, Expires: time.Now().Add(time.Hour)}, j.err
}

func TestTheAPIServerIsAskedOncePerTokenAndMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		r := NewReviews(j, time.Now)
		storm := func() {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if c, err := r.Review(t.Context(), "one"); err != nil || c.Pod != "one" {
						t.Errorf("%+v, %v", c, err)
					}
				})
			}
			all.Wait()
		}
		storm()
		time.Sleep(59 * time.Second)
		storm()
		if n := j.asked.Load(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		time.Sleep(2 * time.Second)
		storm()
		if n := j.asked.Load(); n != 2 {
			t.Errorf("asked %d times, want twice", n)
		}
		if c, err := r.Review(t.Context(), "two"); err != nil || c.Pod != "two" {
			t.Errorf("another token: %+v, %v", c, err)
		}
	})
}

func TestWhoDoesNotWaitForAReviewDoesNotEndItForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReviews(&judge{}, time.Now)
		hasty, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		go func() {
			if _, err := r.Review(hasty, "one"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}()
		synctest.Wait()
		if c, err := r.Review(t.Context(), "one"); err != nil || c.Pod != "one" {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestARefusalIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{err: status.Error(codes.Unauthenticated, "no")}
		r := NewReviews(j, time.Now)
		for range 2 {
			if _, err := r.Review(t.Context(), "one"); status.Code(err) != codes.Unauthenticated {
				t.Errorf("%v", err)
			}
		}
		if n := j.asked.Load(); n != 2 {
			t.Errorf("asked %d times, want twice", n)
		}
	})
}

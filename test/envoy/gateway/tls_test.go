package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/test/sds"
)

// material is a folder as a Kubernetes mount has it: files behind the link ..data, which is swapped as a whole.
type material struct {
	t     *testing.T
	dir   string
	turns int
}

// set swaps the content of the folder.
func (m *material) set(files map[string][]byte) {
	m.t.Helper()
	m.turns++
	next := fmt.Sprintf("..%d", m.turns)
	if err := os.MkdirAll(filepath.Join(m.dir, next), 0o755); err != nil {
		m.t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(m.dir, next, name), content, 0o600); err != nil {
			m.t.Fatal(err)
		}
		link := filepath.Join(m.dir, name)
		if _, err := os.Lstat(link); err != nil {
			if err := os.Symlink("..data/"+name, link); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(next, filepath.Join(m.dir, "..tmp")); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(m.dir, "..tmp"), filepath.Join(m.dir, "..data")); err != nil {
		m.t.Fatal(err)
	}
}

type root struct{ *identity.Authority }

func newRoot(t *testing.T) root {
	t.Helper()
	a, err := identity.NewAuthority("root", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return root{a}
}

func (r root) leaf(t *testing.T, names ...string) (chain, key []byte) {
	t.Helper()
	chain, key, err := r.Leaf(identity.Names{DNS: names}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return chain, key
}

func (r root) pair(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(r.leaf(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// secure answers over TLS with its name and that of the client's certificate.
func secure(t *testing.T, port int, name string, c tls.Certificate) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c}, ClientAuth: tls.RequestClientCert}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := "nobody"
		if p := r.TLS.PeerCertificates; len(p) > 0 {
			client = p[0].Subject.CommonName
		}
		fmt.Fprint(w, name, " ", r.TLS.ServerName, " ", client)
	}), ErrorLog: log.New(io.Discard, "", 0)} // clients that give up are what is tested
	go func() { _ = s.Serve(tls.NewListener(l, config)) }() // ends with the listener
	t.Cleanup(func() { _ = s.Close() })
}

// handshake makes a request over TLS; the error is what the client saw.
func handshake(t *testing.T, port string, c *tls.Config) (string, error) {
	t.Helper()
	c.ServerName, c.MinVersion = "gateway.demo", tls.VersionTLS12
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://127.0.0.1:"+port+"/good", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(b)), err
}

func TestEncryption(t *testing.T) {
	for _, version := range []string{"1.40.0", "1.37.0"} {
		t.Run(version, func(t *testing.T) { encryption(t, version) })
	}
}

func encryption(t *testing.T, version string) {
	ours, stranger := newRoot(t), newRoot(t)
	files := &material{t: t, dir: t.TempDir()}
	chain, key := ours.leaf(t, "gateway.demo")
	clientChain, clientKey := ours.leaf(t, "gateway-client")
	all := map[string][]byte{"tls.crt": chain, "tls.key": key, "c.crt": clientChain, "c.key": clientKey, "ca.crt": ours.PEM()}
	files.set(all)

	secure(t, 9101, "good", ours.pair(t, "localhost"))
	secure(t, 9102, "stranger", stranger.pair(t, "localhost"))
	secure(t, 9103, "misnamed", ours.pair(t, "elsewhere"))
	application(t, 9104, "clear")

	socket := filepath.Join(t.TempDir(), "sds.sock")
	provider, err := sds.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)

	l := startWith(t, version, "testdata/tls", "CERTS", files.dir, "SDSSOCKET", socket)
	l.eventually("the gateway answers", func() bool { return l.get("8088", "GET", "a.b", "/good").status == http.StatusOK })

	for _, c := range []struct{ what, path, want string }{
		{"a server of our root, which is shown the client certificate", "/good", "200 good localhost gateway-client"},
		{"a server of another root", "/stranger", "503"},
		{"a server with another name", "/misnamed", "503"},
		{"a server without TLS is never spoken to in clear text", "/clear", "503"},
	} {
		if r := l.get("8088", "GET", "a.b", c.path); !strings.HasPrefix(fmt.Sprint(r.status, " ", r.body), c.want) {
			t.Errorf("%s: got %d %q, want %s", c.what, r.status, r.body, c.want)
		}
	}
	if s := l.stat("cluster.cds_egress_demo_stranger_demo_http_9102.ssl.fail_verify_error"); s == "" || strings.HasSuffix(s, ": 0") {
		t.Errorf("no failed verification was counted: %q", s)
	}

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ours.PEM())
	trusting := func(certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: pool, Certificates: certificates}
	}
	const good = "200 good localhost gateway-client"
	for _, c := range []struct {
		what, port string
		config     *tls.Config
		want       string
	}{
		{"a strict listener", "8443", trusting(), good},
		{"a permissive listener", "8444", trusting(), good},
		{"mutual TLS with the right name", "8445", trusting(ours.pair(t, "friend.demo")), good},
		{"mutual TLS with another name", "8445", trusting(ours.pair(t, "foe.demo")), ""},
		{"mutual TLS with a certificate of another root", "8445", trusting(stranger.pair(t, "friend.demo")), ""},
		{"mutual TLS without a certificate", "8445", trusting(), ""},
		{"a certificate that is not registered yet", "8446", trusting(ours.pair(t, "friend.demo")), ""},
	} {
		if got, err := handshake(t, c.port, c.config); got != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.what, got, err, c.want)
		}
	}
	if r := l.get("8443", "GET", "a.b", "/good"); r.status != 0 {
		t.Errorf("a strict listener answers clear text: %v", r)
	}
	if r := l.get("8444", "GET", "a.b", "/good"); r.status != http.StatusOK {
		t.Errorf("a permissive listener does not answer clear text: %v", r)
	}

	late, lateKey := ours.leaf(t, "gateway.demo")
	provider.SetCertificate("spiffe://demo/gateway", late, lateKey)
	provider.SetTrust("spiffe://demo", ours.PEM())
	l.eventually("a late registration is used", func() bool {
		got, err := handshake(t, "8446", trusting(ours.pair(t, "friend.demo")))
		return err == nil && got == good
	})

	next := newRoot(t)
	all["tls.crt"], all["tls.key"] = next.leaf(t, "gateway.demo")
	files.set(all)
	pool.AppendCertsFromPEM(next.PEM())
	rotated := x509.NewCertPool()
	rotated.AppendCertsFromPEM(next.PEM())
	l.eventually("a rotated file is shown", func() bool {
		got, err := handshake(t, "8443", &tls.Config{RootCAs: rotated})
		return err == nil && got == good
	})
}

package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Names are what a leaf certificate is valid for.
type Names struct {
	// Common is the common name, which nothing is verified by; without one the subject is empty.
	Common string
	DNS    []string
	IPs    []net.IP
	URIs   []*url.URL
}

// Issuer hands out a leaf under an authority and replaces it after half of its life, or as soon as the authority changes.
// It is safe for concurrent use.
type Issuer struct {
	names Names
	life  time.Duration
	now   func() time.Time

	mu        sync.Mutex
	authority *Authority
	leaf      *tls.Certificate
	renewAt   time.Time
}

// NewIssuer returns an issuer for leaves with the given names and life, good for both ends of a connection.
func NewIssuer(a *Authority, names Names, life time.Duration, now func() time.Time) *Issuer {
	return &Issuer{names: names, life: life, now: now, authority: a}
}

// Use makes the issuer sign under another authority from now on.
func (i *Issuer) Use(a *Authority) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.authority.Certificate.Equal(a.Certificate) {
		i.leaf = nil
	}
	i.authority = a
}

// Authority returns the authority in use.
func (i *Issuer) Authority() *Authority {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.authority
}

// Certificate returns the present leaf.
func (i *Issuer) Certificate() (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	if i.leaf != nil && now.Before(i.renewAt) {
		return i.leaf, nil
	}
	leaf, err := i.authority.issue(i.names, now, i.life, bothEnds...)
	if err != nil {
		return nil, err
	}
	i.leaf, i.renewAt = leaf, now.Add(i.life/2)
	return leaf, nil
}

// ServerConfig returns a TLS configuration for a server that always shows the present leaf.
func (i *Issuer) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.Certificate() },
	}
}

// Pool returns the roots of the authority in use.
func (i *Issuer) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(i.Authority().Bundle())
	return pool
}

// bothEnds are the usages of a certificate that servers and clients show.
var bothEnds = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// Leaf returns a new certificate with its chain, and its key, as PEM. It is valid for both ends of a connection.
func (a *Authority) Leaf(names Names, now time.Time, life time.Duration) (chain, key []byte, err error) {
	if len(names.DNS) > 0 {
		names.Common = names.DNS[0]
	}
	return a.leaf(names, now, life, bothEnds...)
}

// ServerLeaf is Leaf for a certificate that is valid for servers only.
func (a *Authority) ServerLeaf(names Names, now time.Time, life time.Duration) (chain, key []byte, err error) {
	return a.leaf(names, now, life, x509.ExtKeyUsageServerAuth)
}

func (a *Authority) leaf(names Names, now time.Time, life time.Duration, usage ...x509.ExtKeyUsage) (chain, key []byte, err error) {
	c, err := a.issue(names, now, life, usage...)
	if err != nil {
		return nil, nil, err
	}
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key: %w", err)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func (a *Authority) issue(names Names, now time.Time, life time.Duration, usage ...x509.ExtKeyUsage) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		DNSNames: names.DNS, IPAddresses: names.IPs, URIs: names.URIs,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage, Subject: pkix.Name{CommonName: names.Common},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.Certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.Certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

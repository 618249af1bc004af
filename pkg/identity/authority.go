package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Authority is a root certificate with its key, and the root it replaced, which stays trusted until leaves under it are gone.
// It is immutable; Renew returns another one.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
	// Previous is the PEM of the replaced root, nil if there is none.
	Previous []byte
}

// skew is how far certificates reach into the past, for clocks that are not quite right.
const skew = 5 * time.Minute

// NewAuthority makes a root with the given common name that is valid for life from now on.
func NewAuthority(name string, now time.Time, life time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the root: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: cert, key: key}, nil
}

func serialNumber() (*big.Int, error) {
	const bits = 120
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n, nil
}

// The keys of an authority in the data of a Secret.
const (
	certificateKey = "ca.crt"
	privateKey     = "ca.key"
	previousKey    = "previous.crt"
)

// Data returns the authority as the data of a Secret.
func (a *Authority) Data() (map[string][]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	d := map[string][]byte{
		certificateKey: a.PEM(),
		privateKey:     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	if a.Previous != nil {
		d[previousKey] = a.Previous
	}
	return d, nil
}

// ParseAuthority reads what Data returned.
func ParseAuthority(data map[string][]byte) (*Authority, error) {
	cert, err := parseCertificate(data[certificateKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certificateKey, err)
	}
	block, _ := pem.Decode(data[privateKey])
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", privateKey)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", privateKey, err)
	}
	key, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: not a signing key", privateKey)
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, errors.New("certificate and key do not belong together")
	}
	return &Authority{Certificate: cert, key: key, Previous: data[previousKey]}, nil
}

func parseCertificate(p []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(p)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

// PEM returns the root certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// Bundle returns the roots to trust: this one and, during an overlap, the one before.
func (a *Authority) Bundle() []byte {
	return bytes.Join([][]byte{a.PEM(), a.Previous}, nil)
}

// Due is true when two thirds of the root's life have passed.
func (a *Authority) Due(now time.Time) bool {
	c := a.Certificate
	return now.After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3))
}

// Renew returns a new root of the same name and life that still trusts this one.
func (a *Authority) Renew(now time.Time) (*Authority, error) {
	c := a.Certificate
	next, err := NewAuthority(c.Subject.CommonName, now, c.NotAfter.Sub(c.NotBefore)-skew)
	if err != nil {
		return nil, err
	}
	next.Previous = a.PEM()
	return next, nil
}

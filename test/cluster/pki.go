package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is the life of every certificate of a test cluster; nothing here rotates.
const certificateLife = 365 * 24 * time.Hour

// authority is the certificate authority of one control plane. It lives in memory and in dir/pki.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// newAuthority makes dir/pki with ca.crt, ca.key and the service-account key pair sa.key, sa.pub.
func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(pkix.Name{CommonName: "aftermesh-test-cluster"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: filepath.Join(dir, "pki"), cert: cert, key: key, pem: encode("CERTIFICATE", der)}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(a.path("ca.crt"), a.pem, 0o644); err != nil {
		return nil, err
	}
	if err := a.writeKey("ca.key", key); err != nil {
		return nil, err
	}
	return a, a.writeServiceAccountKey()
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// writeServiceAccountKey makes the RSA key that signs tokens (RS256, as most clusters do).
func (a *authority) writeServiceAccountKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.path("sa.pub"), encode("PUBLIC KEY", public), 0o644); err != nil {
		return err
	}
	return a.writeKey("sa.key", key)
}

func (a *authority) writeKey(name string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(a.path(name), encode("PRIVATE KEY", der), 0o600)
}

// issue writes NAME.crt and NAME.key for a subject; hosts (names and addresses) make it a server certificate too.
func (a *authority) issue(name string, subject pkix.Name, hosts ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certificate(subject)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.path(name+".crt"), encode("CERTIFICATE", der), 0o644); err != nil {
		return err
	}
	return a.writeKey(name+".key", key)
}

func certificate(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(certificateLife),
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// kubeconfig writes a kubeconfig with the certificate NAME inside. JSON is YAML.
func (a *authority) kubeconfig(file, name, server string) error {
	type object = map[string]any
	inline := func(path string) string {
		data, _ := os.ReadFile(a.path(path))
		return base64.StdEncoding.EncodeToString(data)
	}
	config := object{
		"apiVersion": "v1", "kind": "Config", "current-context": "aftermesh",
		"clusters": []object{{"name": "aftermesh", "cluster": object{
			"server": server, "certificate-authority-data": inline("ca.crt")}}},
		"users": []object{{"name": name, "user": object{
			"client-certificate-data": inline(name + ".crt"), "client-key-data": inline(name + ".key")}}},
		"contexts": []object{{"name": "aftermesh", "context": object{"cluster": "aftermesh", "user": name}}},
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o600)
}

// adminClient returns an HTTP client that is the administrator of the control plane in dir.
func adminClient(dir string) (*http.Client, error) {
	pki := filepath.Join(dir, "pki")
	pair, err := tls.LoadX509KeyPair(filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots},
	}}, nil
}

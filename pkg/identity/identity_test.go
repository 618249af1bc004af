package identity

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func verify(t *testing.T, c *tls.Certificate, bundle []byte, at time.Time) error {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "a.b.svc", CurrentTime: at})
	return err
}

func TestAuthoritySurvivesStorage(t *testing.T) {
	a, err := NewAuthority("test", epoch, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	data, err := a.Data()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAuthority(data)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := b.issue(Names{DNS: []string{"a.b.svc"}}, epoch, time.Hour, x509.ExtKeyUsageServerAuth)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, leaf, a.Bundle(), epoch); err != nil {
		t.Errorf("a leaf of the stored authority does not verify: %v", err)
	}
	data[certificateKey] = []byte("junk")
	if _, err := ParseAuthority(data); err == nil {
		t.Error("junk was read as an authority")
	}
}

func TestLeafIsReplacedAtHalfOfItsLife(t *testing.T) {
	now := epoch
	a, err := NewAuthority("test", now, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	i := NewIssuer(a, Names{DNS: []string{"a.b.svc"}}, 24*time.Hour, func() time.Time { return now })
	first, err := i.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(11 * time.Hour)
	if same, _ := i.Certificate(); same != first {
		t.Error("the leaf changed before half of its life")
	}
	now = now.Add(2 * time.Hour)
	if next, _ := i.Certificate(); next == first {
		t.Error("the leaf did not change after half of its life")
	}
}

func TestRenewedRootTrustsThePreviousOne(t *testing.T) {
	a, err := NewAuthority("test", epoch, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if a.Due(epoch.Add(59*24*time.Hour)) || !a.Due(epoch.Add(61*24*time.Hour)) {
		t.Error("a root is due after two thirds of its life")
	}
	i := NewIssuer(a, Names{DNS: []string{"a.b.svc"}}, time.Hour, func() time.Time { return epoch })
	old, err := i.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Renew(epoch)
	if err != nil {
		t.Fatal(err)
	}
	i.Use(b)
	fresh, err := i.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*tls.Certificate{"old": old, "new": fresh} {
		if err := verify(t, c, b.Bundle(), epoch); err != nil {
			t.Errorf("the %s leaf does not verify against the new bundle: %v", name, err)
		}
	}
	if err := verify(t, fresh, a.Bundle(), epoch); err == nil {
		t.Error("the new leaf verifies against the old root only")
	}
}

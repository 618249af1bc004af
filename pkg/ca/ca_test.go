package ca

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, now time.Time) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority("test", now, Life)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *identity.Authority, r input.CertificateRequest, now time.Time) map[mesh.Object]input.KeyPair {
	t.Helper()
	k, err := Issue(a, r, now)
	if err != nil {
		t.Fatal(err)
	}
	return map[mesh.Object]input.KeyPair{r.Object: k}
}

var request = input.CertificateRequest{Object: input.AppMesh("VirtualNode", "demo", "color"), DNS: []string{"a.demo", "color.demo"}}

func TestALeafIsGoodForItsNamesUnderTheRoot(t *testing.T) {
	a := authority(t, start)
	k := issue(t, a, request, start)[request.Object]
	pair, err := tls.X509KeyPair(k.Chain, k.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Bundle())
	for _, name := range request.DNS {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: start.Add(time.Hour)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "other.demo", Roots: pool, CurrentTime: start}); err == nil {
		t.Error("it is valid for another name")
	}
}

func TestWhenALeafIsMadeAnew(t *testing.T) {
	old := authority(t, start.Add(-24*time.Hour))
	renewed, err := old.Renew(start)
	if err != nil {
		t.Fatal(err)
	}
	stranger := authority(t, start.Add(-24*time.Hour))
	other := request
	other.DNS = []string{"other.demo"}
	for _, c := range []struct {
		what   string
		root   *identity.Authority
		leaves map[mesh.Object]input.KeyPair
		at     time.Duration
		want   int
	}{
		{"there is none", old, nil, 0, 1},
		{"it cannot be read", old, map[mesh.Object]input.KeyPair{request.Object: {Chain: []byte("junk")}}, 0, 1},
		{"it is new", old, issue(t, old, request, start), time.Hour, 0},
		{"half of its life is not over", old, issue(t, old, request, start), 11 * time.Hour, 0},
		{"70 % of its life are over", old, issue(t, old, request, start), 17 * time.Hour, 1},
		{"its names have changed", old, issue(t, old, other, start), time.Minute, 1},
		{"another root signed it", old, issue(t, stranger, request, start), time.Minute, 1},
		{"the root was renewed a moment ago", renewed, issue(t, old, request, start), 0, 0},
		{"the root was renewed a moment ago and the leaf is over", renewed, issue(t, old, request, start.Add(-25*time.Hour)), 0, 1},
		{"every proxy trusts the renewed root", renewed, issue(t, old, request, start), 10 * time.Minute, 1},
	} {
		if got := len(Plan(c.root, []input.CertificateRequest{request}, c.leaves, start.Add(c.at))); got != c.want {
			t.Errorf("%s: %d to be made, want %d", c.what, got, c.want)
		}
	}
}

func TestNamesOfSecretsAreDistinctAndValid(t *testing.T) {
	gateway := request.Object
	gateway.Kind = "VirtualGateway"
	x, y := LeafName(request.Object), LeafName(gateway)
	if x == y || len(x) > 253 {
		t.Errorf("names are %q and %q", x, y)
	}
}

// TestALeafIsNoClients asks a root for a leaf as a caller would show it.
func TestALeafIsNoClients(t *testing.T) {
	a := authority(t, start)
	k := issue(t, a, request, start)[request.Object]
	pair, err := tls.X509KeyPair(k.Chain, k.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Bundle())
	verify := func(usage x509.ExtKeyUsage) error {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: request.DNS[0], Roots: pool, CurrentTime: start.Add(time.Hour), KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	if err := verify(x509.ExtKeyUsageServerAuth); err != nil {
		t.Errorf("as a server's: %v", err)
	}
	if verify(x509.ExtKeyUsageClientAuth) == nil {
		t.Error("it is good as a client's")
	}
	if cn := pair.Leaf.Subject.CommonName; cn != "" {
		t.Errorf("its common name is %q", cn)
	}
}

// TestASecretIsUsedForItsOwnerOnly reads Secrets of which name, owner or both belong to another.
func TestASecretIsUsedForItsOwnerOnly(t *testing.T) {
	bank := input.AppMesh("VirtualNode", "bank", "pay")
	if o, ok := OwnerOf(LeafName(bank), Owner(bank)); !ok || o != bank {
		t.Errorf("its own gives %v %v", o, ok)
	}
	for _, annotation := range []string{"", "VirtualNode/evil/pay", "VirtualNode/bank/pay/", "virtualnode/bank/pay", "mesh/m/virtualNode/pay_bank", "VirtualGateway/bank/pay", "/VirtualNode/bank/pay"} {
		if o, ok := OwnerOf(LeafName(bank), annotation); ok {
			t.Errorf("the owner %q is taken for %v", annotation, o)
		}
	}
	// What another order of the same letters gives must not be the same Secret.
	for _, o := range []mesh.Object{{Kind: "VirtualNode", Namespace: "bankp", Name: "ay"}, {Kind: "VirtualNode", Namespace: "ban", Name: "kpay"}, {Kind: "VirtualNodebank", Name: "pay"}} {
		if LeafName(o) == LeafName(bank) {
			t.Errorf("%v has the Secret of %v", o, bank)
		}
	}
}

package proxyauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

const issuer = "https://kubernetes.default.svc"

// keypair makes a key and what a cluster would publish of it.
func keypair(t *testing.T, id string) (jose.Signer, jose.JSONWebKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer, jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}
}

// ring is the published keys: what was read last, and what reading again would give.
type ring struct {
	last, next jose.JSONWebKeySet
	refreshed  int
	err        error
}

func (r *ring) Keys(_ context.Context, refresh bool) (*jose.JSONWebKeySet, string, error) {
	if r.err != nil {
		return nil, "", r.err
	}
	if refresh {
		r.refreshed++
		r.last = r.next
	}
	return &r.last, issuer, nil
}

// pods are known by UID; late ones appear at a time.
type pods map[string]pod

type pod struct {
	namespace, name, account string
	from                     time.Time
}

func (p pods) Pod(uid string) (namespace, name, account string, ok bool) {
	found, ok := p[uid]
	if !ok || time.Now().Before(found.from) {
		return "", "", "", false
	}
	return found.namespace, found.name, found.account, true
}

// token is the content of a good token; a test changes one thing in it.
type token struct {
	jwt.Claims
	Kubernetes map[string]any `json:"kubernetes.io"`
}

func goodToken() token {
	now := time.Now()
	return token{
		Claims: jwt.Claims{
			Issuer: issuer, Audience: jwt.Audience{Audience}, Subject: "system:serviceaccount:shop:cart",
			Expiry: jwt.NewNumericDate(now.Add(time.Hour)), IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now),
		},
		Kubernetes: map[string]any{
			"namespace": "shop", "serviceaccount": map[string]string{"name": "cart"}, "pod": map[string]string{"name": "cart-1", "uid": "uid-1"},
		},
	}
}

func bearing(t *testing.T, s jose.Signer, claims token) context.Context {
	t.Helper()
	raw, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return header("Bearer " + raw)
}

func header(values ...string) context.Context {
	md := metadata.MD{}
	md.Append("authorization", values...)
	return metadata.NewIncomingContext(context.Background(), md)
}

func TestOnlyAGoodTokenOfTheVeryPodLetsAProxyIn(t *testing.T) {
	t.Parallel()
	signer, public := keypair(t, "one")
	stranger, _ := keypair(t, "one")
	tests := []struct {
		name   string
		change func(*token)
		signer jose.Signer
		code   codes.Code
		words  string
	}{
		{"a good token", func(*token) {}, signer, codes.OK, ""},
		{"a token that has expired", func(c *token) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }, signer, codes.Unauthenticated, "expired"},
		{"a token without an end", func(c *token) { c.Expiry = nil }, signer, codes.Unauthenticated, "never expires"},
		{"a token that lives two days", func(c *token) { c.Expiry = jwt.NewNumericDate(time.Now().Add(48 * time.Hour)) }, signer, codes.Unauthenticated, "valid for more than"},
		{"a token that does not say since when it lives", func(c *token) { c.IssuedAt = nil }, signer, codes.Unauthenticated, "valid for more than"},
		{"a token that is not yet valid", func(c *token) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Minute)) }, signer, codes.Unauthenticated, "not meant"},
		{"a token for somebody else", func(c *token) { c.Audience = jwt.Audience{"vault"} }, signer, codes.Unauthenticated, "not meant"},
		{"a token without an audience", func(c *token) { c.Audience = nil }, signer, codes.Unauthenticated, "not meant"},
		{"a token of another cluster", func(c *token) { c.Issuer = "https://elsewhere" }, signer, codes.Unauthenticated, "not meant"},
		{"a token signed by a stranger under a known key's name", func(*token) {}, stranger, codes.Unauthenticated, "not signed"},
		{"a token that no pod is bound to", func(c *token) { delete(c.Kubernetes, "pod") }, signer, codes.PermissionDenied, "not bound"},
		{"a token of another service account", func(c *token) { c.Kubernetes["serviceaccount"] = map[string]string{"name": "admin"} }, signer, codes.PermissionDenied, "which is not pod"},
		{"a token of another namespace", func(c *token) { c.Kubernetes["namespace"] = "bank" }, signer, codes.PermissionDenied, "which is not pod"},
		{"a token of a pod of another name", func(c *token) { c.Kubernetes["pod"] = map[string]string{"name": "cart-2", "uid": "uid-1"} }, signer, codes.PermissionDenied, "which is not pod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			auth := &Tokens{
				Pods: pods{"uid-1": {"shop", "cart-1", "cart", time.Time{}}}, Now: time.Now,
				Keys: &ring{last: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}},
			}
			claims := goodToken()
			tt.change(&claims)
			got, err := auth.Authenticate(bearing(t, tt.signer, claims), &corev3.Node{Id: "anything"})
			if status.Code(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.words) {
				t.Fatalf("%v, want %v with %q", err, tt.code, tt.words)
			}
			want := xds.Proxy{}
			if tt.code == codes.OK {
				want = xds.Proxy{ID: "uid-1", Namespace: "shop", Name: "cart-1", Expires: claims.Expiry.Time()}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAKeyThatIsNotKnownYetIsLookedFor(t *testing.T) {
	t.Parallel()
	_, old := keypair(t, "old")
	signer, public := keypair(t, "new")
	keys := &ring{last: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{old}}, next: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{old, public}}}
	auth := &Tokens{Pods: pods{"uid-1": {"shop", "cart-1", "cart", time.Time{}}}, Keys: keys, Now: time.Now}
	for range 2 {
		if _, err := auth.Authenticate(bearing(t, signer, goodToken()), nil); err != nil {
			t.Fatal(err)
		}
	}
	if keys.refreshed != 1 {
		t.Errorf("read %d times, want once", keys.refreshed)
	}
	stranger, _ := keypair(t, "unknown")
	if _, err := auth.Authenticate(bearing(t, stranger, goodToken()), nil); status.Code(err) != codes.Unauthenticated {
		t.Errorf("%v", err)
	}
}

func TestAPodThatIsNotKnownYetIsWaitedFor(t *testing.T) {
	signer, public := keypair(t, "one")
	tests := []struct {
		name  string
		after time.Duration
		code  codes.Code
	}{
		{"the informer is a moment late", time.Second, codes.OK},
		{"the pod does not exist", time.Hour, codes.PermissionDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := &Tokens{
					Pods: pods{"uid-1": {"shop", "cart-1", "cart", time.Now().Add(tt.after)}}, Now: time.Now,
					Keys: &ring{last: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}},
				}
				begin := time.Now()
				if _, err := auth.Authenticate(bearing(t, signer, goodToken()), nil); status.Code(err) != tt.code {
					t.Errorf("%v, want %v", err, tt.code)
				}
				if waited := time.Since(begin); waited > wait+time.Second {
					t.Errorf("after %v", waited)
				}
			})
		})
	}
}

func TestAnythingButOneBearerTokenIsRefused(t *testing.T) {
	t.Parallel()
	auth := &Tokens{Keys: &ring{}, Now: time.Now}
	for name, ctx := range map[string]context.Context{
		"no header": context.Background(), "two headers": header("Bearer a", "Bearer b"), "another scheme": header("Basic YTpi"),
		"an empty token": header("Bearer "), "no JWT": header("Bearer abc"),
		"a token without a signature": header("Bearer eyJhbGciOiJub25lIn0.e30."),
	} {
		if _, err := auth.Authenticate(ctx, nil); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v, want Unauthenticated", name, err)
		}
	}
}

// answer is what the API server says of a token.
type answer struct{ Claims }

func (a answer) Review(context.Context, string) (Claims, error) { return a.Claims, nil }

func TestTheAPIServerIsAskedOnlyWhereTheKeysCannotBeRead(t *testing.T) {
	t.Parallel()
	signer, public := keypair(t, "one")
	auth := &Tokens{Pods: pods{"uid-1": {"shop", "cart-1", "cart", time.Time{}}}, Keys: &ring{err: errors.New("forbidden")}, Now: time.Now}
	if _, err := auth.Authenticate(bearing(t, signer, goodToken()), nil); status.Code(err) != codes.Unavailable {
		t.Errorf("without a reviewer: %v, want Unavailable", err)
	}
	auth.Reviewer = answer{Claims{Namespace: "shop", ServiceAccount: "cart", Pod: "cart-1", PodUID: "uid-1"}}
	if p, err := auth.Authenticate(bearing(t, signer, goodToken()), nil); err != nil || p.ID != "uid-1" {
		t.Errorf("%+v, %v", p, err)
	}
	auth.Keys = &ring{last: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}}
	stranger, _ := keypair(t, "one")
	if _, err := auth.Authenticate(bearing(t, stranger, goodToken()), nil); err == nil {
		t.Error("the reviewer was asked although the keys say no")
	}
}

func TestANodeIDIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"mesh/m/virtualNode/cart":                                                  "mesh/m/virtualNode/cart",
		"mesh/m@123456789012/virtualNode/cart":                                     "mesh/m/virtualNode/cart",
		"arn:aws:appmesh:eu-west-1:123456789012:mesh/m/virtualGateway/door":        "mesh/m/virtualGateway/door",
		"arn:aws:appmesh:eu-west-1:123456789012:mesh/m@210987654321/virtualNode/c": "mesh/m/virtualNode/c",
		"": "", "cart": "", "mesh/m/virtualNode/": "", "mesh/m/virtualRouter/r": "", "mesh/m/virtualNode/a/b": "", "mesh//virtualNode/a": "",
	} {
		p, err := NodeID{}.Authenticate(t.Context(), &corev3.Node{Id: id})
		if p.ID != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", id, p.ID, err, want)
		}
		if want == "" && status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v, want InvalidArgument", id, err)
		}
	}
}

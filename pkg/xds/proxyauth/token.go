package proxyauth

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Audience is what proxies' tokens are made for.
const Audience = "aftermesh"

// Pods looks a pod up by its UID. It is false for a pod that does not exist (any more).
type Pods interface {
	Pod(uid string) (namespace, name, serviceAccount string, ok bool)
}

// Keys returns the cluster's public keys and the issuer of its tokens. refresh asks for a fresh copy, because a token names a key
// that the last one lacks.
type Keys interface {
	Keys(ctx context.Context, refresh bool) (set *jose.JSONWebKeySet, issuer string, err error)
}

// Reviewer asks the API server about a token; it is used only when the keys cannot be read. It returns the claims that
// a verified token would have carried.
type Reviewer interface {
	Review(ctx context.Context, token string) (Claims, error)
}

// Claims are what a pod's token says.
type Claims struct {
	Namespace, ServiceAccount, Pod, PodUID string
	Expires                                time.Time
}

// Tokens authenticates by service account tokens.
type Tokens struct {
	Pods     Pods
	Keys     Keys
	Reviewer Reviewer
	Now      func() time.Time
	// MaxLife is the longest life that a token may have been given; 0 means a day.
	MaxLife time.Duration
}

// HeadersOnly implements xds.HeadersOnly: the token is in the headers.
func (t *Tokens) HeadersOnly() {}

// wait is how long a pod may be unknown: a proxy can be quicker than the informer.
const wait = 5 * time.Second

// Authenticate implements xds.Authenticator.
func (t *Tokens) Authenticate(ctx context.Context, _ *corev3.Node) (xds.Proxy, error) {
	token, err := bearer(ctx)
	if err != nil {
		return xds.Proxy{}, err
	}
	c, err := t.verify(ctx, token)
	if err != nil {
		return xds.Proxy{}, err
	}
	if c.PodUID == "" {
		return xds.Proxy{}, status.Error(codes.PermissionDenied, "the token is not bound to a pod")
	}
	namespace, name, account, ok := t.pod(ctx, c.PodUID)
	switch {
	case !ok:
		return xds.Proxy{}, status.Errorf(codes.PermissionDenied, "pod %s/%s (%s) of the token does not exist", c.Namespace, c.Pod, c.PodUID)
	case namespace != c.Namespace || name != c.Pod || account != c.ServiceAccount:
		return xds.Proxy{}, status.Errorf(codes.PermissionDenied, "the token speaks of pod %s/%s with service account %s, which is not pod %s", c.Namespace, c.Pod, c.ServiceAccount, c.PodUID)
	}
	return xds.Proxy{ID: c.PodUID, Namespace: namespace, Name: name, Expires: c.Expires}, nil
}

// pod looks the pod up, giving the informer a moment.
func (t *Tokens) pod(ctx context.Context, uid string) (namespace, name, account string, ok bool) {
	const pause = 50 * time.Millisecond
	deadline := t.Now().Add(wait)
	for {
		if namespace, name, account, ok = t.Pods.Pod(uid); ok || t.Now().After(deadline) {
			return namespace, name, account, ok
		}
		select {
		case <-ctx.Done():
			return "", "", "", false
		case <-time.After(pause):
		}
	}
}

func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", status.Error(codes.Unauthenticated, "no bearer token: the proxy must send its service account token")
	}
	token, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok || token == "" {
		return "", status.Error(codes.Unauthenticated, "the authorization header carries no bearer token")
	}
	return token, nil
}

// kubernetesClaims is the private part of a service account token. Source: Kubernetes, bound service account tokens.
type kubernetesClaims struct {
	Kubernetes struct {
		Namespace      string `json:"namespace"`
		ServiceAccount struct {
			Name string `json:"name"`
		} `json:"serviceaccount"`
		Pod struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

// maxLife bounds the life of tokens when Tokens.MaxLife does not: who may request tokens could ask for one of a year, which would open
// streams for as long as its pod exists.
const maxLife = 24 * time.Hour

// algorithms are those that API servers sign with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// verify checks signature, issuer, audience and times. All failures look alike to the caller, but for the reason in words.
func (t *Tokens) verify(ctx context.Context, token string) (Claims, error) {
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return Claims{}, status.Error(codes.Unauthenticated, "the bearer token is not a JWT")
	}
	set, issuer, err := t.Keys.Keys(ctx, false)
	if err != nil {
		return t.review(ctx, token, err)
	}
	if id := parsed.Headers[0].KeyID; len(set.Key(id)) == 0 {
		if set, issuer, err = t.Keys.Keys(ctx, true); err != nil {
			return t.review(ctx, token, err)
		}
	}
	var std jwt.Claims
	var own kubernetesClaims
	if err := parsed.Claims(set, &std, &own); err != nil {
		return Claims{}, status.Error(codes.Unauthenticated, "the token is not signed by this cluster")
	}
	const leeway = 10 * time.Second
	expected := jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{Audience}, Time: t.Now()}
	switch err := std.ValidateWithLeeway(expected, leeway); {
	case errors.Is(err, jwt.ErrExpired):
		return Claims{}, status.Error(codes.Unauthenticated, "the token has expired")
	case err != nil:
		return Claims{}, status.Errorf(codes.Unauthenticated, "the token is not meant for this server: %v", err)
	case std.Expiry == nil:
		return Claims{}, status.Error(codes.Unauthenticated, "the token never expires")
	case std.IssuedAt == nil || std.Expiry.Time().Sub(std.IssuedAt.Time()) > cmp.Or(t.MaxLife, maxLife):
		return Claims{}, status.Errorf(codes.Unauthenticated, "the token is valid for more than %v; request one with a shorter expiration", cmp.Or(t.MaxLife, maxLife))
	}
	k := own.Kubernetes
	return Claims{
		Namespace: k.Namespace, ServiceAccount: k.ServiceAccount.Name, Pod: k.Pod.Name, PodUID: k.Pod.UID, Expires: std.Expiry.Time(),
	}, nil
}

func (t *Tokens) review(ctx context.Context, token string, cause error) (Claims, error) {
	if t.Reviewer == nil {
		return Claims{}, status.Errorf(codes.Unavailable, "the cluster's keys cannot be read: %v", cause)
	}
	return t.Reviewer.Review(ctx, token)
}

// NodeID authenticates by what the proxy calls itself, for servers that only listen where everybody is trusted.
type NodeID struct{}

// Authenticate implements xds.Authenticator.
func (NodeID) Authenticate(_ context.Context, node *corev3.Node) (xds.Proxy, error) {
	id, err := parseNodeID(node.GetId())
	if err != nil {
		return xds.Proxy{}, err
	}
	return xds.Proxy{ID: id}, nil
}

// parseNodeID normalises a node id, which may be an ARN and may name the owner of a shared mesh.
// Source: App Mesh, APPMESH_RESOURCE_ARN.
func parseNodeID(id string) (string, error) {
	if _, after, ok := strings.Cut(id, ":mesh/"); ok && strings.HasPrefix(id, "arn:") {
		id = "mesh/" + after
	}
	parts := strings.Split(id, "/")
	if len(parts) == 4 {
		parts[1], _, _ = strings.Cut(parts[1], "@")
	}
	if len(parts) != 4 || parts[0] != "mesh" || parts[1] == "" || parts[3] == "" || !slices.Contains([]string{"virtualNode", "virtualGateway"}, parts[2]) {
		return "", status.Errorf(codes.InvalidArgument, "node.id %q must be mesh/<mesh>/virtualNode/<name> or mesh/<mesh>/virtualGateway/<name>", id)
	}
	return strings.Join(parts, "/"), nil
}

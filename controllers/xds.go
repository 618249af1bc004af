package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aftermesh/aftermesh/pkg/guard"
	"github.com/aftermesh/aftermesh/pkg/status"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/pkg/xds/proxyauth"
)

// tokenLife is the longest life of a proxy's token, unless injected pods are told to request a longer one.
const tokenLife = 24 * time.Hour

// serveXDS adds the xDS port: TLS under a root of its own, proxies known by their pods' tokens.
func (op *operator) serveXDS(_ context.Context, cfg *rest.Config) error {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	auth := &proxyauth.Tokens{
		Pods: op.source, Keys: newClusterKeys(kube, time.Now), Reviewer: proxyauth.NewReviews(&reviewer{client: kube}, time.Now), Now: time.Now,
		MaxLife: max(tokenLife, 2*op.Inject.ControlPlane.TokenExpiration),
	}
	const streams = 2 // the one that ends and the next one
	server := xds.NewServer(op.cache, auth, xds.Options{StreamsPerProxy: streams, Panicked: op.panicked("xds")})
	return op.manager.Add(everywhere(func(ctx context.Context) error {
		// Until the first model is published every answer would be a guess.
		select {
		case <-ctx.Done():
			return nil
		case <-op.served:
		}
		op.catchUp(ctx)
		conf := op.xdsCA.ServerConfig()
		conf.NextProtos = []string{"h2"}
		g := grpc.NewServer(append(xds.GRPCOptions(), grpc.Creds(guard.Credentials(credentials.NewTLS(conf))))...)
		server.Register(g)
		return serveGRPC(ctx, g, fmt.Sprintf(":%d", op.XDSPort))
	}))
}

// serveGRPC serves until ctx ends, then closes every stream: proxies go on with what they have and connect elsewhere.
func serveGRPC(ctx context.Context, g *grpc.Server, address string) error {
	l, err := listen(ctx, address, proxyLimits)
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, g.Stop)
	defer stopped()
	if err := g.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// reviewer asks the API server about a token, where its keys cannot be read.
type reviewer struct{ client kubernetes.Interface }

// Review implements proxyauth.Reviewer.
func (r *reviewer) Review(ctx context.Context, token string) (proxyauth.Claims, error) {
	review, err := r.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{proxyauth.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return proxyauth.Claims{}, grpcstatus.Errorf(codes.Unavailable, "the API server does not review tokens: %v", err)
	}
	if !review.Status.Authenticated {
		return proxyauth.Claims{}, grpcstatus.Errorf(codes.Unauthenticated, "the token is refused: %s", review.Status.Error)
	}
	extra := func(key string) string {
		if v := review.Status.User.Extra["authentication.kubernetes.io/"+key]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	namespace, account, err := serviceAccount(review.Status.User.Username)
	// The review does not tell when the token ends; Kubernetes' shortest life is the safe assumption.
	const life = 10 * time.Minute
	return proxyauth.Claims{
		Namespace: namespace, ServiceAccount: account, Pod: extra("pod-name"), PodUID: extra("pod-uid"), Expires: time.Now().Add(life),
	}, err
}

// serviceAccount takes "system:serviceaccount:namespace:name" apart.
func serviceAccount(user string) (namespace, name string, err error) {
	if _, scanErr := fmt.Sscanf(user, "system:serviceaccount:%s", &namespace); scanErr != nil {
		return "", "", grpcstatus.Errorf(codes.PermissionDenied, "%q is not a service account", user)
	}
	for i := range namespace {
		if namespace[i] == ':' {
			return namespace[:i], namespace[i+1:], nil
		}
	}
	return "", "", grpcstatus.Errorf(codes.PermissionDenied, "%q is not a service account", user)
}

// forwardSignals wakes the status writer when a stream or a status changed.
func (op *operator) forwardSignals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-op.cache.Changed():
		case <-op.source.StatusChanged():
		}
		op.signal()
	}
}

// proxyStates is what the streams of this replica, and what its peers say of theirs, amount to.
func (op *operator) proxyStates() map[string]status.ProxyState {
	out := map[string]status.ProxyState{}
	newest := map[string]time.Time{}
	for _, row := range op.rows() {
		if at, ok := newest[row.Pod]; ok && !at.Before(row.Connected) {
			continue // an older stream of the same proxy, on its way out
		}
		newest[row.Pod] = row.Connected
		out[row.Pod] = status.ProxyState{Acked: op.pipeline.AckedThrough(row.Group, row.AckedSet, row.SetVersion), Unknown: row.Unknown, Rejected: row.Rejected}
	}
	return out
}

// clientTLS is how a replica talks to its peers: both sides show a certificate of the operator's own authority.
func (op *operator) clientTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: op.operatorCA.Pool(), ServerName: serviceNames(op.Service, op.Namespace, op.ServiceDomain)[0],
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return op.operatorCA.Certificate() },
	}
}

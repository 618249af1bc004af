package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/test/apiserver"
	"github.com/aftermesh/aftermesh/test/cluster"
)

// serverName is in the certificate of the xDS port.
const serverName = "aftermesh." + SystemNamespace + ".svc"

// pauses are those of the bootstrap that the injector writes.
var pauses = backoff.Config{BaseDelay: 200 * time.Millisecond, MaxDelay: 2 * time.Second, Multiplier: 2, Jitter: 0.2}

// patience bounds every wait for a change to arrive.
const patience = 20 * time.Second

// Size says how large a fleet is.
type Size struct {
	// Services are virtual services, each with a router, a node and its pods.
	Services int
	// Replicas are the pods, and so the streams, of each node.
	Replicas int
	// Backends are the services that each node calls; fewer than Services.
	Backends int
}

// Fleet is a mesh without a node under it: a real API server with the mesh's objects and its pods as objects that say they run, the
// operator's binary, and one simulated proxy for each pod.
type Fleet struct {
	Size
	Client client.Client
	Pods   []Pod
	// Progress is told what takes time.
	Progress func(format string, args ...any)

	dir, binary string
	api         *apiserver.Server
	operators   []*Operator
	events      chan event
	stop        context.CancelFunc
	streams     sync.WaitGroup
}

// Build compiles the binary of the working copy into a folder and returns its path.
func Build(ctx context.Context, folder string) (string, error) {
	layout, err := cluster.Find()
	if err != nil {
		return "", err
	}
	return build(ctx, layout.Root, folder)
}

// New starts etcd and the API server and fills it; operators will run the given binary. The caller ends it with Close.
func New(ctx context.Context, s Size, binary string, progress func(format string, args ...any)) (*Fleet, error) {
	layout, err := cluster.Find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return nil, err
	}
	const room = 100_000
	f := &Fleet{Size: s, Progress: progress, binary: binary, dir: dir, events: make(chan event, room)}
	if err := f.prepare(ctx, layout.Root); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fleet) prepare(ctx context.Context, root string) (err error) {
	f.Progress("starting etcd and kube-apiserver")
	if f.api, err = apiserver.New(ctx); err != nil {
		return err
	}
	if f.Client, err = client.New(f.api.Config(), client.Options{Scheme: controllers.Scheme()}); err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(f.api.Config())
	if err != nil {
		return err
	}
	f.Progress("creating %d services and %d pods", f.Services, f.Services*f.Replicas)
	if err := definitions(ctx, f.Client, filepath.Join(root, "config", "crd", "bases")); err != nil {
		return err
	}
	if err := populate(ctx, f.Client, f.Size); err != nil {
		return err
	}
	f.Pods, err = pods(ctx, f.Client, kube, f.Size)
	return err
}

// Close ends everything that was started.
func (f *Fleet) Close() error {
	if f.stop != nil {
		f.stop()
		go func() {
			for range f.events {
			}
		}()
		f.streams.Wait()
		close(f.events)
	}
	for _, o := range f.operators {
		o.Kill()
	}
	var err error
	if f.api != nil {
		err = f.api.Stop()
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}

// Server is the API server.
func (f *Fleet) Server() *apiserver.Server { return f.api }

// Credentials are those of a client of the xDS port; there are none before an operator has started.
func (f *Fleet) Credentials(ctx context.Context) (credentials.TransportCredentials, error) {
	var secret corev1.Secret
	if err := f.Client.Get(ctx, client.ObjectKey{Namespace: SystemNamespace, Name: "aftermesh-xds-ca"}, &secret); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		return nil, errors.New("the Secret of the xDS authority holds no certificate")
	}
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: serverName}), nil
}

// Own is a loopback address for each pod by its number, as each has an address of its own in a cluster.
func Own(pod int) net.IP {
	const row = 250
	return net.IPv4(127, 100, byte(pod/row), byte(1+pod%row))
}

// Connect opens the streams of all pods, each to the replica that home names for its number, and from an address of its own.
func (f *Fleet) Connect(ctx context.Context, home func(pod int) *Operator) error {
	return f.ConnectFrom(ctx, home, Own)
}

// ConnectFrom is Connect from the given addresses.
func (f *Fleet) ConnectFrom(ctx context.Context, home func(pod int) *Operator, from func(pod int) net.IP) error {
	creds, err := f.Credentials(ctx)
	if err != nil {
		return err
	}
	ctx, f.stop = context.WithCancel(ctx)
	for i, p := range f.Pods {
		x := newProxy(i, p, from(i), f.events)
		f.streams.Go(func() { _ = x.run(ctx, home(i).Address(), creds) })
	}
	return nil
}

// InStep waits until every proxy has everything; it returns how many resources were sent meanwhile.
func (f *Fleet) InStep(ctx context.Context) (resources int, err error) {
	done := map[int]bool{}
	timeout := time.After(2 * time.Minute)
	var last string
	for len(done) < len(f.Pods) {
		select {
		case e := <-f.events:
			switch {
			case e.typeURL == "":
				done[e.proxy] = true
			case strings.HasPrefix(e.typeURL, "broken"):
				last = e.typeURL
				delete(done, e.proxy)
			default:
				resources += len(e.resources)
			}
		case <-timeout:
			return 0, fmt.Errorf("%d of %d proxies are in step; last trouble: %s; the operator says: %s", len(done), len(f.Pods), last, f.tail())
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return resources, nil
}

// change makes one change and waits until all the given proxies received a response of the type that is as it should be. It returns how
// long each took after the API server's answer.
func (f *Fleet) change(ctx context.Context, typeURL string, streams map[int]bool, ok func(event) bool, do func() error) ([]time.Duration, error) {
	if err := do(); err != nil {
		return nil, err
	}
	answered := time.Now()
	var out []time.Duration
	timeout := time.After(patience)
	seen := map[int]bool{}
	for len(seen) < len(streams) {
		select {
		case e := <-f.events:
			if strings.HasPrefix(e.typeURL, "broken") {
				return nil, fmt.Errorf("stream %d is %s", e.proxy, e.typeURL)
			}
			if e.typeURL != typeURL || !streams[e.proxy] || seen[e.proxy] || !ok(e) {
				continue
			}
			seen[e.proxy] = true
			// The change may arrive before the API server's answer.
			out = append(out, max(0, e.at.Sub(answered)))
		case <-timeout:
			return nil, fmt.Errorf("%d of %d proxies received the change; the operator says: %s", len(seen), len(streams), f.tail())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return out, nil
}

// weighs is true for a response that gives the service's first target the weight.
func weighs(e event, service, weight int) bool {
	for _, r := range e.resources {
		var rc routev3.RouteConfiguration
		if r.GetResource().UnmarshalTo(&rc) != nil {
			continue
		}
		for _, h := range rc.GetVirtualHosts() {
			if h.GetDomains()[0] != serviceHost(service) {
				continue
			}
			for _, c := range h.GetRoutes()[0].GetRoute().GetWeightedClusters().GetClusters() {
				if strings.Contains(c.GetName(), fmt.Sprintf("n%03d_", service)) {
					return c.GetWeight().GetValue() == uint32(weight)
				}
			}
		}
	}
	return false
}

// ChangeRoute gives the first target of a service another weight and waits until all its callers have received it. It returns how long
// each took after the API server's answer.
func (f *Fleet) ChangeRoute(ctx context.Context, service, weight int) ([]time.Duration, error) {
	return f.change(ctx, xds.RouteType, f.streamsOf(f.callersOf(service)), func(e event) bool { return weighs(e, service, weight) },
		func() error { return f.SetWeight(ctx, service, weight) })
}

// ChangeEndpoint makes the first pod of a node ready or not and waits until all its callers have received that. It returns how long each
// took after the API server's answer.
func (f *Fleet) ChangeEndpoint(ctx context.Context, node int, ready bool) ([]time.Duration, error) {
	callers := append(f.callersOf(node), f.callersOf((node-1+f.Services)%f.Services)...)
	return f.change(ctx, xds.EndpointType, f.streamsOf(callers), func(event) bool { return true },
		func() error { return f.setReady(ctx, f.Pods[node*f.Replicas].Name, ready) })
}

// tail is the end of the replicas' logs.
func (f *Fleet) tail() string {
	var all []string
	for _, o := range f.operators {
		all = append(all, o.tail())
	}
	return strings.Join(all, "\n")
}

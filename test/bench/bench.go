package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
const serverName = "aftermesh." + systemNamespace + ".svc"

// pauses are those of the bootstrap that the injector writes.
var pauses = backoff.Config{BaseDelay: 200 * time.Millisecond, MaxDelay: 2 * time.Second, Multiplier: 2, Jitter: 0.2}

// patience bounds every wait for a change to arrive.
const patience = 20 * time.Second

// bench is everything that runs.
type bench struct {
	settings
	dir      string
	api      *apiserver.Server
	client   client.Client
	operator *operator
	pods     []pod
	events   chan event
	stop     context.CancelFunc
	streams  sync.WaitGroup
}

func newBench(ctx context.Context, s settings) (*bench, error) {
	layout, err := cluster.Find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{settings: s, dir: dir, events: make(chan event, 100_000)}
	if err := b.prepare(ctx, layout.Root); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// prepare starts the API server, fills it, and builds the operator.
func (b *bench) prepare(ctx context.Context, root string) (err error) {
	step("starting etcd and kube-apiserver")
	if b.api, err = apiserver.New(ctx); err != nil {
		return err
	}
	if b.client, err = client.New(b.api.Config(), client.Options{Scheme: controllers.Scheme()}); err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(b.api.Config())
	if err != nil {
		return err
	}
	step("creating %d services and %d pods", b.services, b.services*b.replicas)
	if err := definitions(ctx, b.client, filepath.Join(root, "config", "crd", "bases")); err != nil {
		return err
	}
	if err := populate(ctx, b.client, b.settings); err != nil {
		return err
	}
	if b.pods, err = pods(ctx, b.client, kube, b.settings); err != nil {
		return err
	}
	step("building the operator")
	binary, err := build(ctx, root, b.dir)
	if err != nil {
		return err
	}
	b.operator = &operator{binary: binary, kubeconfig: b.api.Kubeconfig, logFile: filepath.Join(b.dir, "operator.log")}
	for _, p := range []*int{&b.operator.xdsPort, &b.operator.peerPort, &b.operator.adminPort, &b.operator.health, &b.operator.stats} {
		if *p, err = freePort(); err != nil {
			return err
		}
	}
	return nil
}

// close ends everything that was started.
func (b *bench) close() error {
	if b.stop != nil {
		b.stop()
		go func() {
			for range b.events {
			}
		}()
		b.streams.Wait()
		close(b.events)
	}
	if b.operator != nil {
		b.operator.kill()
	}
	var err error
	if b.api != nil {
		err = b.api.Stop()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// connect opens all streams.
func (b *bench) connect(ctx context.Context) error {
	var secret corev1.Secret
	if err := b.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "aftermesh-xds-ca"}, &secret); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		return errors.New("the Secret of the xDS authority holds no certificate")
	}
	creds := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: serverName})
	ctx, b.stop = context.WithCancel(ctx)
	for i, p := range b.pods {
		x := newProxy(i, p, b.events)
		b.streams.Go(func() { _ = x.run(ctx, b.operator.address(), creds) })
	}
	return nil
}

// inStep waits until every proxy has everything; it returns how many resources were sent meanwhile.
func (b *bench) inStep(ctx context.Context) (resources int, err error) {
	done := map[int]bool{}
	timeout := time.After(2 * time.Minute)
	var last string
	for len(done) < len(b.pods) {
		select {
		case e := <-b.events:
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
			return 0, fmt.Errorf("%d of %d proxies are in step; last trouble: %s; the operator says: %s", len(done), len(b.pods), last, b.operator.tail())
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return resources, nil
}

// change makes one change and waits until all the given proxies received a response of the type that is as it should be.
func (b *bench) change(ctx context.Context, typeURL string, streams map[int]bool, ok func(event) bool, do func() error) ([]time.Duration, error) {
	if err := do(); err != nil {
		return nil, err
	}
	answered := time.Now()
	var out []time.Duration
	timeout := time.After(patience)
	seen := map[int]bool{}
	for len(seen) < len(streams) {
		select {
		case e := <-b.events:
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
			return nil, fmt.Errorf("%d of %d proxies received the change; the operator says: %s", len(seen), len(streams), b.operator.tail())
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

// anything accepts every response of the right type.
func anything(event) bool { return true }

// types of the measured responses.
const (
	routeResponse    = xds.RouteType
	endpointResponse = xds.EndpointType
)

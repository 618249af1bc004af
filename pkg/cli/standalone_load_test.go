package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

const colors = `apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: blue, namespace: shop}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: blue.shop.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: color, namespace: shop}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  routes:
  - name: all
    httpRoute:
      match: {prefix: /}
      action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 1}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: color, namespace: shop}
spec: {awsName: color.shop.svc.cluster.local, provider: {virtualRouter: {virtualRouterRef: {name: color}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: shop}
spec: {backends: [{virtualService: {virtualServiceRef: {name: color}}}]}
`

// said collects what a verb logs.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// take returns what was said since the last call.
func (s *said) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.buf.Reset()
	return s.buf.String()
}

func TestABadEditKeepsWhatWorked(t *testing.T) {
	t.Parallel()
	const router = "listeners: [{portMapping: {port: 8080, protocol: http}}]\n  routes"
	for _, c := range []struct{ name, old, new, said string }{
		{"a weight that the schema refuses", "weight: 1}", "weight: 200}", "KEPT VirtualRouter shop/color as it was"},
		{"a word that the schema refuses", "spec: {namespaceSelector: {}}", "spec: {namespaceSelector: {}, egressFilter: {type: ALLOWALL}}", "KEPT Mesh m as it was"},
		{"a version that is not served", "v1beta2\nkind: VirtualService", "v1beta1\nkind: VirtualService", "KEPT VirtualService shop/color as it was"},
		{"a regex that is none", "{prefix: /}", `{path: {regex: "("}}`, "KEPT VirtualRouter shop/color in its last accepted form"},
		{"a listener changed, its route forgotten", router, strings.Replace(router, "http}", "grpc}", 1), "KEPT VirtualRouter shop/color in its last accepted form"},
		{"a target that does not exist", "virtualNodeRef: {name: blue}", "virtualNodeRef: {name: gone}", "KEPT VirtualRouter shop/color in its last accepted form"},
		{"broken YAML", "routes:", "routes: [", "broken: "},
		{"a kind that does not exist", "kind: VirtualRouter", "kind: VirtualRooter", "broken: "},
		{"an object twice", "name: blue, namespace", "name: front, namespace", "broken: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log, file := &said{}, filepath.Join(t.TempDir(), "m.yaml")
			s := standalone{dir: filepath.Dir(file), namespace: "default", log: log, pipeline: pipeline.New(nil, time.Now)}
			load := func(manifests string) string {
				write(t, file, manifests)
				if err := s.load(); err != nil {
					s.say("broken: %v", err)
				}
				set := s.pipeline.Last().Sets["mesh/m/virtualNode/front_shop"]
				if set == nil {
					t.Fatalf("nothing is served:\n%s", log.take())
				}
				return set.Version
			}
			before := load(colors)
			log.take()
			if !strings.Contains(colors, c.old) {
				t.Fatalf("%q is not there", c.old)
			}
			if load(strings.Replace(colors, c.old, c.new, 1)) != before {
				t.Error("what worked is gone")
			}
			if got := log.take(); !strings.Contains(got, c.said) {
				t.Errorf("said %q, want %q", got, c.said)
			}
			if load(strings.Replace(colors, "{prefix: /}", "{prefix: /new}", 1)) == before {
				t.Error("a mended file is not served")
			}
			if got := log.take(); strings.Contains(got, "KEPT") {
				t.Errorf("something is kept still: %s", got)
			}
		})
	}
}

// until waits until the log has said a word.
func (s *said) until(t *testing.T, want string) {
	t.Helper()
	var all string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if all += s.take(); strings.Contains(all, want) {
			return
		}
	}
	t.Fatalf("never said %q:\n%s", want, all)
}

// TestAFolderThatIsReplacedIsFollowed: a folder may be moved away and another one put in its place, as deployments by script do.
func TestAFolderThatIsReplacedIsFollowed(t *testing.T) {
	t.Parallel()
	log, dir := &said{}, filepath.Join(t.TempDir(), "manifests")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "m.yaml"), colors)
	s := standalone{dir: dir, namespace: "default", log: log, access: access{listen: freeAddress(t)}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	log.until(t, "serving delta xDS")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	log.until(t, "KEPT the last good state: ")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "m.yaml"), strings.Replace(colors, "{prefix: /}", "{prefix: /new}", 1))
	log.until(t, "served 2 nodes, 1 changed")
	write(t, filepath.Join(dir, "m.yaml"), colors)
	log.until(t, "served 2 nodes, 1 changed")
}

func TestStandaloneTellsWhatProxiesDo(t *testing.T) {
	t.Parallel()
	log, dir, address := &said{}, t.TempDir(), freeAddress(t)
	write(t, filepath.Join(dir, "m.yaml"), colors)
	s := standalone{dir: dir, namespace: "default", log: log, access: access{listen: address}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	open := func(node string) (discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.ClusterType, Node: &corev3.Node{Id: node}}); err != nil {
			t.Fatal(err)
		}
		return stream, cancel
	}
	stream, hangUp := open("mesh/m/virtualNode/front_shop")
	defer hangUp()
	log.until(t, "proxy mesh/m/virtualNode/front_shop connected\n")
	response, err := stream.Recv()
	if err != nil || len(response.Resources) == 0 {
		t.Fatalf("%v %v", response, err)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.ClusterType, ResponseNonce: response.Nonce,
		ErrorDetail: &rpcstatus.Status{Code: 13, Message: response.Resources[0].Name + ": no such socket option"}}); err != nil {
		t.Fatal(err)
	}
	log.until(t, "REFUSED by proxy mesh/m/virtualNode/front_shop: Cluster "+response.Resources[0].Name+": ")
	hangUp()
	log.until(t, "proxy mesh/m/virtualNode/front_shop is gone")
	_, hangUp = open("mesh/m/virtualNode/frnt_shop")
	log.until(t, "proxy mesh/m/virtualNode/frnt_shop connected, but no manifest has such a node; there are: mesh/m/virtualNode/blue_shop, mesh/m/virtualNode/front_shop")
	hangUp()
	_, hangUp = open("front")
	defer hangUp()
	log.until(t, "InvalidArgument: ")
}

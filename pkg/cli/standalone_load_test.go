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

const colors = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {mesh: m}}
---
apiVersion: aftermesh.dev/v1alpha1
kind: MeshSettings
metadata: {name: m}
spec: {http: {headerCase: Preserve}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {matchLabels: {mesh: m}}}
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
		{"a word that the schema refuses", "spec: {namespaceSelector: {", "spec: {egressFilter: {type: ALLOWALL}, namespaceSelector: {", "KEPT Mesh m as it was"},
		{"a version that is not served", "v1beta2\nkind: VirtualService", "v1beta1\nkind: VirtualService", "KEPT VirtualService shop/color as it was"},
		{"a regex that is none", "{prefix: /}", `{path: {regex: "("}}`, "KEPT VirtualRouter shop/color in its last accepted form"},
		{"a listener changed, its route forgotten", router, strings.Replace(router, "http}", "grpc}", 1), "KEPT VirtualRouter shop/color in its last accepted form"},
		{"a target that does not exist", "virtualNodeRef: {name: blue}", "virtualNodeRef: {name: gone}", "KEPT VirtualRouter shop/color in its last accepted form"},
		{"a field that does not exist", "  routes:", "  rutes:", "KEPT VirtualRouter shop/color as it was"},
		{"a field of a list that does not exist", "weightedTargets", "weightedTarget", "KEPT VirtualRouter shop/color as it was"},
		{"a key given twice", "  routes:", "  routes: []\n  routes:", "KEPT VirtualRouter shop/color as it was"},
		{"a key given twice, the last one wrong", "      match: {prefix: /}", "      match: {prefix: /}\n      match: {prefix: /typo}", "KEPT VirtualRouter shop/color as it was"},
		{"settings with a field that does not exist", "headerCase: Preserve", "headerCaze: Preserve", "KEPT MeshSettings m as it was"},
		{"settings that the schema refuses", "headerCase: Preserve", "headerCase: Kept", "KEPT MeshSettings m as it was"},
		{"a label of a Namespace given twice", "labels: {mesh: m}", "labels: {mesh: m, mesh: x}", "KEPT Namespace shop as it was"},
		{"broken YAML", "routes:", "routes: [", "KEPT VirtualNode shop/front, VirtualRouter shop/color, VirtualService shop/color: it may stand in the document that cannot be read"},
		{"a kind that does not exist", "kind: VirtualRouter", "kind: VirtualRooter", "KEPT VirtualRouter shop/color: it may stand"},
		{"an object twice", "name: blue, namespace", "name: front, namespace", "KEPT VirtualNode shop/blue: it may stand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log, file := &said{}, filepath.Join(t.TempDir(), "m.yaml")
			s := standalone{dir: filepath.Dir(file), namespace: "default", log: log, pipeline: pipeline.New(nil, time.Now)}
			load := func(manifests string) string {
				write(t, file, manifests)
				if err := s.load(); err != nil {
					t.Fatal(err)
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
			load(strings.Replace(colors, c.old, c.new, 1))
			if got := log.take(); strings.Count(got, "\n") != 1 {
				t.Errorf("said again what was said before: %s", got)
			}
			if load(strings.Replace(colors, "{prefix: /}", "{prefix: /new}", 1)) == before {
				t.Error("a mended file is not served")
			}
			if got := log.take(); strings.Contains(got, "KEPT") || !strings.Contains(got, "MENDED ") {
				t.Errorf("something is kept still, or the end of the fault is not told: %s", got)
			}
			load(colors)
			if got := log.take(); strings.Contains(got, "MENDED ") {
				t.Errorf("the end of a fault is told twice: %s", got)
			}
		})
	}
}

// loader writes manifests to the folder of a standalone server and loads them.
func loader(t *testing.T) (s *standalone, load func(manifests string) string) {
	t.Helper()
	log, file := &said{}, filepath.Join(t.TempDir(), "m.yaml")
	s = &standalone{dir: filepath.Dir(file), namespace: "default", log: log, pipeline: pipeline.New(nil, time.Now)}
	return s, func(manifests string) string {
		t.Helper()
		write(t, file, manifests)
		if err := s.load(); err != nil {
			t.Fatal(err)
		}
		return log.take()
	}
}

// version is that of what a node is served.
func (s *standalone) versionOf(t *testing.T, node string) string {
	t.Helper()
	set := s.pipeline.Last().Sets["mesh/m/virtualNode/"+node]
	if set == nil {
		t.Fatalf("%s is not served", node)
	}
	return set.Version
}

func TestTheRestOfABadEditIsServed(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string][2]string{
		"a misspelt field": {"  routes:", "  rutes:"},
		"a bad value":      {"weight: 1}", "weight: 200}"},
		"an unknown kind":  {"kind: VirtualRouter", "kind: VirtualRooter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, load := loader(t)
			load(colors)
			front, blue := s.versionOf(t, "front_shop"), s.versionOf(t, "blue_shop")
			const listener = "listeners: [{portMapping: {port: 8080, protocol: http}}]\n  serviceDiscovery"
			said := load(strings.Replace(strings.Replace(colors, bad[0], bad[1], 1), listener, strings.Replace(listener, "[{", "[{timeout: {http: {idle: {unit: s, value: 9}}}, ", 1), 1))
			if s.versionOf(t, "front_shop") != front {
				t.Errorf("the faulty object is not kept: %s", said)
			}
			if s.versionOf(t, "blue_shop") == blue {
				t.Errorf("the other edit is not served: %s", said)
			}
		})
	}
}

// TestAValidEditIsServed: who removes a port wants it gone, as in a cluster; the log names what no proxy serves any more.
func TestAValidEditIsServed(t *testing.T) {
	t.Parallel()
	const listener, routes = "listeners: [{portMapping: {port: 8080, protocol: http}}]\n  routes", "  routes:\n  - name: all\n    httpRoute:\n      match: {prefix: /}\n" +
		"      action: {weightedTargets: [{virtualNodeRef: {name: blue}, weight: 1}]}\n"
	for _, c := range []struct{ name, old, new, said string }{
		{"a router's port", listener, strings.Replace(listener, "8080", "8081", 1), "REMOVED color.shop.svc.cluster.local:8080 of VirtualService shop/color"},
		{"all routes", routes, "  routes: []\n", "REMOVED color.shop.svc.cluster.local:8080 of VirtualService shop/color"},
		{"a backend", "backends: [{virtualService: {virtualServiceRef: {name: color}}}]", "backends: []", "REMOVED color.shop.svc.cluster.local:8080 of VirtualService shop/color"},
		{"a node's port", "listeners: [{portMapping: {port: 8080, protocol: http}}]\n  serviceDiscovery", "listeners: [{portMapping: {port: 8081, protocol: http}}]\n  serviceDiscovery", "REMOVED port 8080 of VirtualNode shop/blue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, load := loader(t)
			if !strings.Contains(colors, c.old) {
				t.Fatalf("%q is not there", c.old)
			}
			load(colors)
			before := s.versionOf(t, "front_shop") + s.versionOf(t, "blue_shop")
			if got := load(strings.Replace(colors, c.old, c.new, 1)); !strings.Contains(got, c.said) || strings.Contains(got, "KEPT") {
				t.Errorf("said %s", got)
			}
			if s.versionOf(t, "front_shop")+s.versionOf(t, "blue_shop") == before {
				t.Error("it is not served")
			}
		})
	}
}

// TestAFirstFormIsServedAsFarAsItGoes: a strict fault that an object came with does not keep its later edits back.
func TestAFirstFormIsServedAsFarAsItGoes(t *testing.T) {
	t.Parallel()
	s, load := loader(t)
	odd := strings.Replace(colors, "  listeners:", "  tracing: {}\n  listeners:", 1)
	if got := load(odd); !strings.Contains(got, "spec.tracing: unknown field") {
		t.Errorf("said %s", got)
	}
	before := s.versionOf(t, "blue_shop")
	if got := load(strings.Replace(odd, "8080", "8082", 1)); strings.Contains(got, "KEPT") || strings.Contains(got, "unknown field") || s.versionOf(t, "blue_shop") == before {
		t.Errorf("said %s", got)
	}
}

func TestAFolderWithoutManifestsIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, load := loader(t)
	if got := load("# nothing yet\n"); !strings.Contains(got, "WAITING: "+s.dir+" holds no manifest") || strings.Contains(got, "serving") || s.pipeline.Last() != nil {
		t.Errorf("said %s", got)
	}
	if got := load("# still nothing\n"); got != "" {
		t.Errorf("said again: %s", got)
	}
	if got := load(colors); !strings.Contains(got, "serving 2 nodes, 2 changed") {
		t.Errorf("said %s", got)
	}
	before := s.versionOf(t, "front_shop")
	if got := load(""); !strings.Contains(got, "KEPT everything: "+s.dir+" holds no manifest any more") || s.versionOf(t, "front_shop") != before {
		t.Errorf("said %s", got)
	}
	if got := load(colors); !strings.Contains(got, "serving 2 nodes, 0 changed") {
		t.Errorf("said %s", got)
	}
}

// until waits until the log has said a word, and returns what it has said meanwhile.
func (s *said) until(t *testing.T, want string) (all string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if all += s.take(); strings.Contains(all, want) {
			return all
		}
	}
	t.Fatalf("never said %q:\n%s", want, all)
	return all
}

// start serves until the end of the test.
func start(t *testing.T, s *standalone) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
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
	start(t, &s)
	log.until(t, "serving delta xDS")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	log.until(t, "KEPT everything: ")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "m.yaml"), strings.Replace(colors, "{prefix: /}", "{prefix: /new}", 1))
	log.until(t, "serving 2 nodes, 1 changed")
	write(t, filepath.Join(dir, "m.yaml"), colors)
	log.until(t, "serving 2 nodes, 1 changed")
}

// TestALinkThatIsPointedElsewhereIsFollowed: deployments by script switch a link from one release to the next.
func TestALinkThatIsPointedElsewhereIsFollowed(t *testing.T) {
	t.Parallel()
	log, root := &said{}, t.TempDir()
	for name, text := range map[string]string{"one": colors, "two": strings.Replace(colors, "{prefix: /}", "{prefix: /new}", 1)} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, name, "m.yaml"), text)
	}
	point := func(to string) {
		if err := os.Symlink(to, filepath.Join(root, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(root, "next"), filepath.Join(root, "current")); err != nil {
			t.Fatal(err)
		}
	}
	point("one")
	s := standalone{dir: filepath.Join(root, "current"), namespace: "default", log: log, access: access{listen: freeAddress(t)}}
	start(t, &s)
	log.until(t, "serving delta xDS")
	point("two")
	log.until(t, "serving 2 nodes, 1 changed")
	write(t, filepath.Join(root, "two", "m.yaml"), colors)
	log.until(t, "serving 2 nodes, 1 changed")
}

func TestStandaloneTellsWhatProxiesDo(t *testing.T) {
	t.Parallel()
	log, dir, address := &said{}, t.TempDir(), freeAddress(t)
	write(t, filepath.Join(dir, "m.yaml"), colors)
	s := standalone{dir: dir, namespace: "default", log: log, access: access{listen: address}}
	start(t, &s)
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

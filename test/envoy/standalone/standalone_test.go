package standalone

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster"
)

const manifests = `apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front}
spec: {backends: [{virtualService: {virtualServiceRef: {name: color}}}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: blue}
spec:
  listeners: [{portMapping: {port: 9000, protocol: http}}]
  serviceDiscovery: {dns: {hostname: blue.example.com}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: color}
spec: {awsName: color.example.com, provider: {virtualNode: {virtualNodeRef: {name: blue}}}}
`

const bootstrap = `
node: {id: mesh/demo/virtualNode/front_default, cluster: front}
admin: {address: {pipe: {path: %s}}}
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: xds, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %s}}}}]}]}
`

// log collects what a program says.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func start(t *testing.T, binary string, args ...string) *log {
	t.Helper()
	out := &log{}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	background(t, cmd, out)
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderIsServedAndFollowed(t *testing.T) {
	t.Parallel()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary, file := filepath.Join(dir, "aftermesh"), filepath.Join(dir, "manifests", "mesh.yaml")
	build(t, binary)
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, manifests)
	xds, admin := filepath.Join(dir, "xds.sock"), filepath.Join(dir, "admin.sock")
	said := start(t, binary, "standalone", filepath.Dir(file), "--listen", "unix://"+xds)
	config := filepath.Join(dir, "envoy.yaml")
	write(t, config, fmt.Sprintf(bootstrap, admin, xds))
	start(t, layout.Envoy(cluster.DefaultEnvoy), "-c", config, "--disable-hot-restart", "--log-level", "error")

	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", admin)
	}}}
	clusters := func() string {
		resp, err := client.Get("http://admin/clusters")
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return ""
		}
		return string(b)
	}
	eventually(t, "Envoy has the backend", func() bool { return strings.Contains(clusters(), "cds_egress_demo_blue_default_http_9000") })
	write(t, file, strings.Replace(manifests, "9000", "9001", 1))
	eventually(t, "an edit arrives", func() bool { return strings.Contains(clusters(), "cds_egress_demo_blue_default_http_9001") })
	write(t, file, "a: [")
	eventually(t, "a broken file is reported", func() bool {
		return strings.Contains(said.String(), "it may stand in the document that cannot be read")
	})
	if !strings.Contains(clusters(), "cds_egress_demo_blue_default_http_9001") {
		t.Error("a broken file took down what worked")
	}
	write(t, file, strings.Replace(manifests, "9000", "0", 1))
	eventually(t, "an object that the schema refuses is kept", func() bool { return strings.Contains(said.String(), "KEPT VirtualNode default/blue as it was") })
	if !strings.Contains(clusters(), "cds_egress_demo_blue_default_http_9001") {
		t.Error("a bad value took down what worked")
	}
	eventually(t, "the proxy is reported", func() bool {
		return strings.Contains(said.String(), "proxy mesh/demo/virtualNode/front_default connected")
	})
	write(t, file, strings.Replace(manifests, "9000", "9002", 1))
	eventually(t, "a mended file is served", func() bool { return strings.Contains(clusters(), "cds_egress_demo_blue_default_http_9002") })
}

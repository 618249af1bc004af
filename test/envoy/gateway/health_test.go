package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aftermesh/aftermesh/test/sds"
)

// nodes is how many nodes are checked: the first check of each races with the secret that it needs.
const nodes = 10

// TestHealthChecksOfSecretsToCome has nodes whose health is checked over TLS, and whose trust comes from a provider a moment later than the
// first check fails. The clusters must not wait for the next check for a minute, nor must those whose secret never comes.
func TestHealthChecksOfSecretsToCome(t *testing.T) {
	ours := newRoot(t)
	for i := range nodes {
		secure(t, 9200+i, fmt.Sprint("n", i), ours.pair(t, "localhost"))
	}
	socket := filepath.Join(t.TempDir(), "sds.sock")
	provider, err := sds.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)
	provider.SetTrust("spiffe://demo", ours.PEM())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), []byte(checkedMesh()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1.40.0", "1.37.0"} {
		t.Run(version, func(t *testing.T) {
			l := startWith(t, version, dir, "SDSSOCKET", socket)
			for i := range nodes {
				l.eventually(fmt.Sprintf("node n%d answers", i), func() bool {
					return l.get("8088", "GET", "a.b", fmt.Sprintf("/n%d/", i)).status == http.StatusOK
				})
			}
			l.eventually("all clusters are warm", func() bool {
				return strings.HasSuffix(l.stat("cluster_manager.warming_clusters"), ": 0")
			})
		})
	}
}

// checkedMesh is a gateway in front of the nodes, and of one whose secret nobody has.
func checkedMesh() string {
	var b strings.Builder
	b.WriteString(`apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {}, meshServiceDiscovery: {ipPreference: IPv4_ONLY}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: gw, namespace: demo}
spec:
  namespaceSelector: {}
  listeners: [{portMapping: {port: 8088, protocol: http}}]
  backendDefaults: {clientPolicy: {tls: {validation: {trust: {sds: {secretName: "spiffe://demo"}}}}}}
`)
	for i := range nodes {
		fmt.Fprintf(&b, `---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: n%[1]d, namespace: demo}
spec: {httpRoute: {match: {prefix: /n%[1]d/}, action: {target: {virtualService: {virtualServiceRef: {name: n%[1]d}}}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: n%[1]d, namespace: demo}
spec: {provider: {virtualNode: {virtualNodeRef: {name: n%[1]d}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: n%[1]d, namespace: demo}
spec:
  listeners:
  - portMapping: {port: %[2]d, protocol: http}
    healthCheck: {protocol: http, path: /, intervalMillis: 5000, timeoutMillis: 2000, healthyThreshold: 2, unhealthyThreshold: 2}
  serviceDiscovery: {dns: {hostname: localhost}}
`, i, 9200+i)
	}
	return b.String()
}

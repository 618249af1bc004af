package injection

import (
	"bytes"
	_ "embed" // the objects
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Namespaces of the cases. OperatorNamespace is there already and must have the label with the value enabled while they run.
const (
	namespaceEnabled  = "injection"
	namespaceOpen     = "injection-open"
	namespaceOdd      = "injection-odd"
	namespaceClosed   = "injection-closed"
	namespaceBare     = "injection-bare"
	namespaceShared   = "injection-shared"
	namespaceWide     = "injection-wide"
	OperatorNamespace = "aftermesh-system"
)

//go:embed objects.yaml
var manifests string

// pair is the node and the gateway that every namespace of the cases has.
const pair = `
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front, namespace: NAMESPACE}
spec:
  podSelector: {matchLabels: {app: front}}
  listeners:
  - {portMapping: {port: 8080, protocol: http}}
  - {portMapping: {port: 9090, protocol: http}, tls: {mode: STRICT, certificate: {file: {certificateChain: /c, privateKey: /k}}}}
  serviceDiscovery: {dns: {hostname: front.NAMESPACE.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: ingress, namespace: NAMESPACE}
spec:
  podSelector: {matchLabels: {app: ingress}}
  listeners: [{portMapping: {port: 8088, protocol: http}}]
`

// Objects are the meshes, namespaces, nodes and gateways that the cases need, in the order in which they can be created.
func Objects() ([]*unstructured.Unstructured, error) {
	text := manifests
	for _, namespace := range []string{namespaceEnabled, namespaceOpen, namespaceOdd, namespaceClosed, namespaceBare, namespaceShared} {
		text += strings.ReplaceAll(pair, "NAMESPACE", namespace)
	}
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), len(text)); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("objects of the cases: %w", err)
		}
		objects = append(objects, object)
	}
}

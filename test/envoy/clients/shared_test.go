package clients

import (
	"fmt"
	"strings"
	"testing"
)

// shared is a caller, two nodes that answer on one port in different protocols, and a gateway.
const shared = `
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: front}
spec:
  backends: [{virtualService: {virtualServiceRef: {name: back}}}, {virtualService: {virtualServiceRef: {name: web}}}]
  serviceDiscovery: {dns: {hostname: 127.0.1.1}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: back}
spec:
  listeners:
  - portMapping: {port: 8080, protocol: http}
  - portMapping: {port: 8081, protocol: http2}
  - portMapping: {port: 8082, protocol: grpc}
  - portMapping: {port: 8083, protocol: http2}
  serviceDiscovery: {dns: {hostname: 127.0.2.1}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: back}
spec: {awsName: back.demo, provider: {virtualNode: {virtualNodeRef: {name: back}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: web}
spec:
  listeners: [{portMapping: {port: 8081, protocol: http}}]
  serviceDiscovery: {dns: {hostname: 127.0.3.1}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: web}
spec: {awsName: web.demo, provider: {virtualNode: {virtualNodeRef: {name: web}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualGateway
metadata: {name: gw}
spec:
  namespaceSelector: {}
  listeners: [{portMapping: {port: 8088, protocol: http}}, {portMapping: {port: 8089, protocol: http2}}]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: back}
spec:
  httpRoute:
    match: {prefix: /, port: 8088, hostname: {exact: back.demo}}
    action: {target: {port: 8081, virtualService: {virtualServiceRef: {name: back}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: web}
spec:
  httpRoute:
    match: {prefix: /, port: 8088, hostname: {exact: web.demo}}
    action: {target: {virtualService: {virtualServiceRef: {name: web}}}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: GatewayRoute
metadata: {name: back2}
spec:
  http2Route:
    match: {prefix: /, port: 8089, hostname: {exact: back.demo}}
    action: {target: {port: 8081, virtualService: {virtualServiceRef: {name: back}}}}
`

// odd is what a client may send; the words HOST and CLOSE are filled in.
var odd = []struct {
	what, request string
}{
	{"a WebSocket", "GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"},
	{"an unknown upgrade", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"},
	{"an upgrade to h2c", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"},
	{"an upgrade to TLS", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n"},
	{"CONNECT", "CONNECT HOST:443 HTTP/1.1\r\nHost: HOST:443\r\n\r\n"},
	{"TRACE", "TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"an unknown method", "FOO / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"100 headers", "GET / HTTP/1.1\r\nHost: HOST\r\n" + headers(97) + "\r\n"},
	{"150 headers", "GET / HTTP/1.1\r\nHost: HOST\r\n" + headers(150) + "\r\n"},
	{"59 KiB of headers", "GET / HTTP/1.1\r\nHost: HOST\r\n" + sized(59<<10) + "\r\n"},
	{"one header of 59 KiB", "GET / HTTP/1.1\r\nHost: HOST\r\nx: " + strings.Repeat("x", 59<<10) + "\r\n\r\n"},
	{"one header that does not compress", "GET / HTTP/1.1\r\nHost: HOST\r\nx: " + strings.Repeat("|", 59<<10) + "\r\n\r\n"},
	{"200 KiB of headers", "GET / HTTP/1.1\r\nHost: HOST\r\n" + sized(200<<10) + "\r\n"},
	{"a path of 59 KiB", "GET /" + strings.Repeat("x", 59<<10) + " HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"too many response headers", "GET /headers HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"a reset response", "POST /reset HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"},
	{"TE: gzip", "GET / HTTP/1.1\r\nHost: HOST\r\nTE: gzip\r\nConnection: TE\r\n\r\n"},
	{"Connection: close, x", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close, x\r\nx: y\r\n\r\n"},
	{"Connection that names Host", "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: host\r\n\r\n"},
	{"Keep-Alive and Proxy-Connection", "GET / HTTP/1.1\r\nHost: HOST\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n\r\n"},
	{"a header with a colon", "GET / HTTP/1.1\r\nHost: HOST\r\n:path: /x\r\n\r\n"},
	{"a header name with odd letters", "GET / HTTP/1.1\r\nHost: HOST\r\nx!#$%&'*+.^_`|~: y\r\n\r\n"},
	{"a header name with a space", "GET / HTTP/1.1\r\nHost: HOST\r\nx y: z\r\n\r\n"},
	{"an empty header name", "GET / HTTP/1.1\r\nHost: HOST\r\n: z\r\n\r\n"},
	{"bytes beyond ASCII in a header", "GET / HTTP/1.1\r\nHost: HOST\r\nx: \xff\xfe\x80\r\n\r\n"},
	{"bytes beyond ASCII in a name", "GET / HTTP/1.1\r\nHost: HOST\r\nx\xff: y\r\n\r\n"},
	{"a control character in a header", "GET / HTTP/1.1\r\nHost: HOST\r\nx: \x01\x7f\r\n\r\n"},
	{"NUL in a header", "GET / HTTP/1.1\r\nHost: HOST\r\nx: a\x00b\r\n\r\n"},
	{"a tab in a header", "GET / HTTP/1.1\r\nHost: HOST\r\nx: a\tb\r\n\r\n"},
	{"a bare CR in a header", "GET / HTTP/1.1\r\nHost: HOST\r\nx: a\rb\r\n\r\n"},
	{"bytes beyond ASCII in the path", "GET /\xff\xfe HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"a fragment in the path", "GET /a#b HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"quotes in the path", "GET /\"<>^`{|} HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"a control character in the path", "GET /\x01 HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"a path without a slash", "GET x HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"an odd scheme", "GET foo://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"https in the request line", "GET https://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"a forged protocol", "GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Proto: gopher\r\n\r\n"},
	{"a protocol header", "GET / HTTP/1.1\r\nHost: HOST\r\nprotocol: websocket\r\n\r\n"},
	{"an expectation", "POST / HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"},
	{"another expectation", "POST / HTTP/1.1\r\nHost: HOST\r\nExpect: x\r\nContent-Length: 2\r\n\r\nhi"},
	{"both lengths", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"two lengths", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"},
	{"a negative length", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -2\r\n\r\n"},
	{"an odd encoding", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
	{"a bad chunk", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
	{"trailers", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx y: z\r\n:path: x\r\n\r\n"},
	{"a GET with a body", "GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nhi"},
	{"HEAD", "HEAD / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
	{"two hosts", "GET / HTTP/1.1\r\nHost: HOST\r\nHost: x\r\n\r\n"},
	{"a host with a user", "GET / HTTP/1.1\r\nHost: a@HOST\r\n\r\n"},
	{"a host with odd letters", "GET / HTTP/1.1\r\nHost: HOST\"<>\r\n\r\n"},
	{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: HOST\r\n\r\n"},
	{"HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n"},
	{"no HTTP", "\x16\x03\x01\x00\x05hello\r\n\r\n"},
	{"gRPC over HTTP/1.1", "POST /a.B/C HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/grpc\r\nContent-Length: 5\r\n\r\n\x00\x00\x00\x00\x00"},
	{"gRPC's broken timeout", "POST /a.B/C HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/grpc\r\ngrpc-timeout: \x01\r\nContent-Length: 0\r\n\r\n"},
	{"Envoy's own headers", "GET / HTTP/1.1\r\nHost: HOST\r\nx-envoy-upstream-rq-timeout-ms: 1\r\nx-envoy-max-retries: 100\r\nx-envoy-retry-on: 5xx\r\n\r\n"},
}

func headers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x-%d: y\r\n", i)
	}
	return b.String()
}

// sized returns headers of n bytes in lines of 1 KiB.
func sized(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "x-%03d: %s\r\n", i, strings.Repeat("x", 1<<10-9))
	}
	return b.String()[:n-n%(1<<10)]
}

func TestNoRequestEndsOthers(t *testing.T) {
	a := serve(t, 8080, 8081, 8082, 8083)
	onEachEnvoy(t, shared, func(t *testing.T, l *lab) {
		for _, path := range []struct{ what, address, host string }{
			{"sidecar to http2", services + ":8081", "back.demo"},
			{"sidecar to grpc", services + ":8082", "back.demo"},
			{"sidecar to http", services + ":8080", "back.demo"},
			{"gateway to http2", "127.0.0.1:8088", "back.demo"},
			{"http2 gateway to http2", "127.0.0.1:8089", "back.demo"},
			{"straight to http2", back + ":8081", "back.demo"},
		} {
			t.Run(path.what, func(t *testing.T) {
				for _, o := range odd {
					h := a.hold(t, 5, path.address, path.host)
					answer := ""
					if resp, err := exchange(path.address, strings.ReplaceAll(o.request, "HOST", path.host)); err == nil {
						answer = fmt.Sprint(resp.StatusCode)
					} else {
						answer = err.Error()
					}
					h.unharmed(o.what)
					t.Log(o.what, ": ", answer)
				}
			})
		}
	})
}

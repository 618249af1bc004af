package netns

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// passed is a Service of a TLS listener with two pods at addresses of the peer. Its target port has a name: one pod gives it to port 8090,
// which has no listener, so that traffic passes its proxy by, and the other to 8080.
func passed(protocol, clusterIP, past, through string) string {
	pod := `---
apiVersion: v1
kind: Pod
metadata: {name: NAME-PORT, namespace: demo, uid: NAME-PORT, labels: {app: NAME}, annotations: {aftermesh.dev/node: mesh/m/virtualNode/NAME_demo, aftermesh.dev/profile: '{"ip":"4","ports":[8080]}'}}
spec: {containers: [{name: app, image: x, ports: [{name: web, containerPort: PORT}]}]}
status: {phase: Running, podIPs: [{ip: ADDRESS}], conditions: [{type: Ready, status: "True"}]}
`
	node := `---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: demo}
spec: {clusterIP: CLUSTER, clusterIPs: [CLUSTER], ports: [{port: 8080, targetPort: web}]}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: NAME, namespace: demo}
spec:
  podSelector: {matchLabels: {app: NAME}}
  listeners: [{portMapping: {port: 8080, protocol: NAME}, tls: {mode: STRICT, certificate: {file: {certificateChain: /x, privateKey: /y}}}}]
  serviceDiscovery: {dns: {hostname: NAME.demo.svc.cluster.local}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {name: NAME, namespace: demo}
spec: {awsName: NAME.demo.svc.cluster.local, provider: {virtualNode: {virtualNodeRef: {name: NAME}}}}
`
	all := strings.NewReplacer("PORT", "8090", "ADDRESS", past).Replace(pod) + strings.NewReplacer("PORT", "8080", "ADDRESS", through).Replace(pod) + node
	return strings.NewReplacer("NAME", protocol, "CLUSTER", clusterIP).Replace(all)
}

// web answers HTTP/1.1 and HTTP/2 with a word, as an application does or by TLS as its proxy would.
func (l *lab) web(address, word string, tls bool) *httptest.Server {
	l.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", word, r.Proto) }))
	_ = s.Listener.Close()
	err := l.in(l.peer, owner{}, func() (err error) {
		s.Listener, err = (&net.ListenConfig{}).Listen(l.t.Context(), "tcp", address)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if tls {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}
	l.t.Cleanup(s.Close)
	return s
}

// TestCallersReachPodsThatReceiveTrafficPastTheirProxies calls services of which one pod takes TLS and the other has nobody who would.
func TestCallersReachPodsThatReceiveTrafficPastTheirProxies(t *testing.T) {
	const offer = "{clientPolicy: {tls: {enforce: false, validation: {trust: {file: {certificateChain: /x}}}}}}"
	for _, version := range []string{"1.40.0", "1.37.0"} {
		for _, c := range []struct {
			what, policy string
			past         bool
		}{{"without a policy", "{}", true}, {"with a policy that is not enforced", offer, true}, {"that enforces TLS", "enforced", false}} {
			t.Run(version+"/"+c.what, func(t *testing.T) {
				l := newLab(t)
				l.web(hostA+":8090", "past", false)
				authority := l.web(hostB+":8080", "through", true).Certificate().Raw
				if c.policy == "enforced" {
					c.policy = l.enforcing(authority)
				}
				text := callerOf("DROP_ALL", c.policy, "http", "http2") +
					passed("http", "203.0.113.101", hostA, hostB) + passed("http2", "203.0.113.102", hostA, hostB)
				l.apply(config(t, map[string]string{"APPMESH_EGRESS_IGNORED_IP": "", "APPMESH_ENABLE_IPV6": "0"}))
				l.proxy(version, []byte(text))
				for host, to := range map[string]string{"http": "203.0.113.101:8080", "http2": "203.0.113.102:8080"} {
					l.bothPods(host, to, c.past)
				}
			})
		}
	}
}

// enforcing is a policy that takes the certificate of the pods.
func (l *lab) enforcing(certificate []byte) string {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "trust") // a folder that the proxy's user may read
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	return fmt.Sprintf("{clientPolicy: {tls: {validation: {trust: {file: {certificateChain: %s}}, subjectAlternativeNames: {match: {exact: [example.com]}}}}}}", file)
}

// bothPods calls a service by turns: the pod behind its proxy answers, the other one if past is true. Otherwise its share fails.
func (l *lab) bothPods(host, to string, past bool) {
	l.t.Helper()
	protocol := map[string]string{"http": "HTTP/1.1", "http2": "HTTP/2.0"}[host]
	answers := map[string]int{}
	for range 8 {
		got, _ := l.talk(dial{to: to, say: []byte("GET / HTTP/1.1\r\nhost: " + host + ".demo.svc.cluster.local\r\nconnection: close\r\n\r\n")})
		answers[got]++
	}
	if answers["through "+protocol] == 0 {
		l.t.Errorf("%s: %v, want answers of the pod behind its proxy", host, answers)
	}
	if got := answers["past "+protocol]; past != (got > 0) {
		l.t.Errorf("%s: %v, answers of the pod past its proxy: want %v", host, answers, past)
	}
	if past && answers["past "+protocol]+answers["through "+protocol] != 8 {
		l.t.Errorf("%s: %v, want no failures", host, answers)
	}
}

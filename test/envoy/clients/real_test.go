package clients

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRealClientsAreServed sends what clients in use send, by sidecar and gateway.
func TestRealClientsAreServed(t *testing.T) {
	serve(t, 8080, 8081, 8082, 8083)
	onEachEnvoy(t, shared, func(t *testing.T, _ *lab) {
		for _, place := range []struct{ what, address string }{{"sidecar", services + ":8080"}, {"inbound", back + ":8080"}, {"gateway", "127.0.0.1:8088"}} {
			for _, c := range []struct {
				what, request string
				status        int
				header, value string
			}{
				{"Upgrade: TLS", "GET / HTTP/1.1\r\nHost: back.demo\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n", 200, "seen-upgrade", ""},
				{"Upgrade: TLS and HTTP", "GET / HTTP/1.1\r\nHost: back.demo\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n\r\n", 200, "seen-upgrade", ""},
				{"a trailing dot", "GET / HTTP/1.1\r\nHost: back.demo.\r\n\r\n", 200, "", ""},
				{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: back.demo\r\n\r\n", 200, "", ""},
			} {
				resp, err := exchange(place.address, c.request)
				if err != nil || resp.StatusCode != c.status || c.header != "" && resp.Header.Get(c.header) != c.value {
					t.Errorf("%s, %s: %v, %+v; want %d", place.what, c.what, err, resp, c.status)
				}
			}
		}
		if resp, err := exchange(back+":8080", "GET / HTTP/1.0\r\n\r\n"); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("HTTP/1.0 without a host, inbound: %v, %+v", err, resp)
		}
		for _, address := range []string{services + ":8081", "127.0.0.1:8088"} {
			if err := webSocket(address, "web.demo"); err != nil {
				t.Errorf("a WebSocket to an http backend by %s: %v", address, err)
			}
		}
	})
}

// webSocket makes a handshake and expects a line back.
func webSocket(address, host string) error {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%w, %+v", err, resp)
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
		return fmt.Errorf("%w, %q", err, line)
	}
	return nil
}

const settings = `---
apiVersion: aftermesh.dev/v1alpha1
kind: MeshSettings
metadata: {name: demo}
spec:
  http: {headerCase: Preserve, server: PassThrough, http10: Refuse, trustedHops: 1, headerLimits: {kibibytes: 200, count: 300}}
  keepAlive: {idleSeconds: 7}
`

const trusting = `---
apiVersion: aftermesh.dev/v1alpha1
kind: MeshSettings
metadata: {name: demo}
spec: {http: {trustedHops: 1}}
`

// TestGatewaysSayWhoTheClientIs forges what a gateway must say itself.
func TestGatewaysSayWhoTheClientIs(t *testing.T) {
	serve(t, 8080, 8081, 8082, 8083)
	for _, c := range []struct{ what, manifests, seenFor, proto string }{
		{"without trusted proxies", shared, "6.6.6.6,127.0.0.1", "http"},
		{"behind one", shared + trusting, "6.6.6.6,127.0.0.1", "https"},
	} {
		t.Run(c.what, func(t *testing.T) {
			onEachEnvoy(t, c.manifests, func(t *testing.T, _ *lab) {
				resp, err := exchange("127.0.0.1:8088", "GET / HTTP/1.1\r\nHost: back.demo\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n")
				if err != nil {
					t.Fatal(err)
				}
				if got := resp.Header.Get("seen-for"); strings.ReplaceAll(got, " ", "") != c.seenFor {
					t.Errorf("the application saw X-Forwarded-For %q, want %q", got, c.seenFor)
				}
				if got := resp.Header.Get("seen-proto"); got != c.proto {
					t.Errorf("the application saw X-Forwarded-Proto %q, want %q", got, c.proto)
				}
			})
		})
	}
}

// TestSettingsOfAMesh tries each of them.
func TestSettingsOfAMesh(t *testing.T) {
	serve(t, 8081, 8082, 8083)
	asked := make(chan []byte, 10)
	rawApplication(t, 8080, asked)
	for _, version := range []string{"1.40.0", "1.38.3", "1.37.0"} {
		t.Run(version, func(t *testing.T) {
			start(t, version, shared+settings)
			resp, err := exchange(services+":8080", "GET / HTTP/1.1\r\nHost: back.demo\r\nSOAPAction: x\r\n\r\n")
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(err, resp)
			}
			if request := string(<-asked); !strings.Contains(request, "\r\nSOAPAction: x\r\n") {
				t.Errorf("the application saw %q, want SOAPAction as it was written", request)
			}
			if got := resp.Header["Server"]; !slices.Equal(got, []string{"raw"}) {
				t.Errorf("the caller saw the server %q, want that of the application", got)
			}
			for _, c := range []struct {
				what, request string
				needs         string // the oldest Envoy that has no limit of its own for a single header in HTTP/2
			}{
				{"150 KiB of headers", "GET / HTTP/1.1\r\nHost: back.demo\r\n" + sized(150<<10) + "\r\n", ""},
				{"250 headers", "GET / HTTP/1.1\r\nHost: back.demo\r\n" + headers(250) + "\r\n", ""},
				{"one header of 150 KiB", "GET / HTTP/1.1\r\nHost: back.demo\r\nx: " + strings.Repeat("|", 150<<10) + "\r\n\r\n", "1.38"},
				{"one response header of 100 KB", "GET /header HTTP/1.1\r\nHost: back.demo\r\n\r\n", "1.38"},
			} {
				want := http.StatusOK
				if resp, err := exchange(services+":8081", c.request); err != nil || (resp.StatusCode == want) != (version >= c.needs) {
					t.Errorf("%s: %v, %+v", c.what, err, resp)
				}
			}
			if resp, err := exchange(services+":8081", "GET / HTTP/1.0\r\nHost: back.demo\r\n\r\n"); err != nil || resp.StatusCode != http.StatusUpgradeRequired {
				t.Errorf("HTTP/1.0: %v, %+v", err, resp)
			}
		})
	}
}

// rawApplication answers each request on its connection as it is written here, and hands the bytes of requests on.
func rawApplication(t *testing.T, port int, asked chan<- []byte) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 1<<16)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					asked <- slices.Clone(b[:n])
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nServer: raw\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
}

// TestUpstreamConnectionsAreKeptAlive reads the timers of the kernel.
func TestUpstreamConnectionsAreKeptAlive(t *testing.T) {
	serve(t, 8080, 8081, 8082, 8083)
	onEachEnvoy(t, shared, func(t *testing.T, _ *lab) {
		c := send(t, services+":8081", "GET /never HTTP/1.1\r\nHost: back.demo\r\n\r\n")
		defer c.Close()
		out := ""
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !strings.Contains(out, "keepalive"); time.Sleep(20 * time.Millisecond) {
			b, err := exec.CommandContext(t.Context(), "ss", "-Htno", "dst", back+":8081").Output()
			if err != nil {
				t.Fatal(err)
			}
			out = string(b)
		}
		if !strings.Contains(out, "timer:(keepalive,1min") && !strings.Contains(out, "timer:(keepalive,2min") {
			t.Errorf("no probe of keep-alive is due within two minutes: %s", out)
		}
	})
}

// TestIdleConnectionsEndBeforeTheApplicationEndsThem waits for the end of a connection that the application leaves open.
func TestIdleConnectionsEndBeforeTheApplicationEndsThem(t *testing.T) {
	serve(t, 8081, 8082, 8083)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan time.Duration, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			if _, err := http.ReadRequest(r); err != nil {
				continue
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			since := time.Now()
			_ = c.SetReadDeadline(since.Add(5 * time.Second))
			if _, err := r.ReadByte(); err == nil {
				t.Error("the proxy sends more than was asked for")
			}
			ended <- time.Since(since)
			_ = c.Close()
		}
	}()
	onEachEnvoy(t, shared, func(t *testing.T, _ *lab) {
		if resp, err := exchange(services+":8080", "GET / HTTP/1.1\r\nHost: back.demo\r\n\r\n"); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(err, resp)
		}
		const shortest = 2 * time.Second // of the limits that servers have
		if d := <-ended; d >= shortest {
			t.Errorf("the connection to the application was open for %s, want less than %s", d, shortest)
		}
	})
}

const logging = `---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: demo}
spec: {namespaceSelector: {}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {name: back}
spec:
  listeners: [{portMapping: {port: 8080, protocol: http}}]
  serviceDiscovery: {dns: {hostname: 127.0.2.1}}
  logging: {accessLog: {file: {path: /dev/stdout, format: {text: "logged %RESPONSE_CODE%\n"}}}}
`

// TestStdoutMayBeASocket starts proxies as systemd does, whose /dev/stdout cannot be opened.
func TestStdoutMayBeASocket(t *testing.T) {
	serve(t, 8080)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
			defer ours.Close()
			startWith(t, version, logging, theirs)
			_ = theirs.Close()
			if err := post(back+":8080", "back.demo", "/"); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(ours)
			for lines.Scan() {
				if lines.Text() == "logged 200" {
					return
				}
			}
			t.Error("the request is not logged:", lines.Err())
		})
	}
}

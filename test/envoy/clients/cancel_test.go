package clients

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// send opens a connection and sends a request on it, whose response is nobody's business yet.
func send(t *testing.T, address, request string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCancelledRequestsDoNotEndOthers cancels 600 requests on the connection that others wait on. Envoy ends a connection of which
// 250 streams were reset at once, which is right between strangers and wrong between two proxies.
func TestCancelledRequestsDoNotEndOthers(t *testing.T) {
	const rounds, each = 48, 50
	a := serve(t, 8080, 8081, 8082, 8083)
	onEachEnvoy(t, shared, func(t *testing.T, _ *lab) {
		for what, address := range map[string]string{
			"sidecar": services + ":8081", "gateway": "127.0.0.1:8088", "http2 gateway": "127.0.0.1:8089",
		} {
			h := a.hold(t, 5, address, "back.demo")
			for range rounds {
				var clients []net.Conn
				for range each {
					clients = append(clients, send(t, address, "GET /never HTTP/1.1\r\nHost: back.demo\r\n\r\n"))
				}
				for range each {
					select {
					case <-a.arrived:
					case <-time.After(10 * time.Second):
						t.Fatalf("%s: requests do not arrive any more", what)
					}
				}
				for _, c := range clients {
					_ = c.Close()
				}
			}
			h.unharmed(what)
		}
	})
}

// TestResponsesThatAreNotReadDoNotStopOthers leaves some responses of 64 MiB unread.
func TestResponsesThatAreNotReadDoNotStopOthers(t *testing.T) {
	const unread = 8
	a := serve(t, 8080, 8081, 8082, 8083)
	onEachEnvoy(t, shared, func(t *testing.T, l *lab) {
		for what, address := range map[string]string{"sidecar": services + ":8081", "gateway": "127.0.0.1:8088"} {
			h := a.hold(t, 5, address, "back.demo")
			for range unread {
				c := send(t, address, "GET /large HTTP/1.1\r\nHost: back.demo\r\n\r\n")
				if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
			}
			// What is in flight has come to rest when the counters of bytes stand still.
			last := ""
			l.eventually("the responses stop", func() bool {
				now := l.stats("back", "cds_ingress_demo_back_demo_http2_8081.upstream_cx_rx_bytes_total")
				still := now == last
				last = now
				time.Sleep(200 * time.Millisecond)
				return still
			})
			h.unharmed(what)
			for range 5 {
				if err := post(address, "back.demo", "/"); err != nil {
					t.Errorf("%s: a request beside them: %v", what, err)
				}
			}
		}
	})
}

// stats returns the lines of statistics that contain a text.
func (l *lab) stats(name, text string) string {
	var found []string
	for line := range strings.SplitSeq(l.admin(name, "/stats"), "\n") {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return fmt.Sprint(found)
}

package bootstrap

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// caller asks the admin port from one place.
type caller struct {
	name string
	host string // the address dialled; the source is the same address
}

// places are loopback and another address of this machine for the families that the port serves.
func places(t *testing.T, families string) (loopback, outside []caller) {
	t.Helper()
	loopback = []caller{{"loopback", "127.0.0.1"}}
	if strings.Contains(families, "6") {
		loopback = append(loopback, caller{"IPv6 loopback", "::1"})
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		ip := addr.(*net.IPNet).IP
		if ip.IsGlobalUnicast() && (ip.To4() != nil || strings.Contains(families, "6")) {
			outside = append(outside, caller{"address " + ip.String(), ip.String()})
		}
	}
	if len(outside) == 0 {
		t.Skip("this machine has no address besides loopback")
	}
	return loopback, outside
}

// try returns the status code, or the error.
func (c caller) try(method, path string, port uint16) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(c.host, fmt.Sprint(port)), nil)
	if err != nil {
		return err.Error()
	}
	// Opaque keeps the path as it is written.
	request.URL.Opaque = path
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return fmt.Sprint(response.StatusCode)
}

func TestOthersMayOnlyLookAtTheAdminPort(t *testing.T) {
	requests := []struct {
		method, path    string
		inside, outside string
	}{
		{"GET", "/ready", "200", "200"},
		{"GET", "/server_info", "200", "403"},
		{"GET", "/stats?filter=server.live", "200", "200"},
		{"GET", "/stats", "200", "200"},
		{"GET", "/stats?filter=server", "200", "200"},
		{"GET", "/stats/prometheus", "200", "200"},
		{"GET", "/config_dump", "200", "403"},
		{"GET", "/clusters", "200", "403"},
		{"GET", "/certs", "200", "403"},
		{"GET", "/stats/../config_dump", "200", "403"},
		{"GET", "/stats//../config_dump", "404", "404"},
		{"GET", "/stats%2f..%2fconfig_dump", "400", "400"},
		{"GET", "/READY", "404", "403"},
		{"POST", "/ready", "200", "403"},
		{"POST", "/logging?level=info", "200", "403"},
		{"POST", "/drain_listeners?graceful&skip_exit", "200", "403"},
		{"POST", "/stats/recentlookups/clear", "200", "403"},
		{"POST", "/quitquitquit", "", "403"},
	}
	for _, families := range []string{"4", "46"} {
		t.Run("families "+families, func(t *testing.T) {
			server, folder := serve(t, serverName), newCredentialFolder(t)
			folder.token("x")
			s := settings(t, server, folder)
			s.IPFamilies = families
			p := start(t, binary(t, newest), s)
			eventually(t, 10*time.Second, "state", "LIVE", p.state)
			loopback, outside := places(t, families)
			for _, r := range requests {
				for _, c := range outside {
					if got := c.try(r.method, r.path, s.Admin.Port); got != r.outside {
						t.Errorf("%s %s from %s: %s, want %s", r.method, r.path, c.name, got, r.outside)
					}
				}
				for _, c := range loopback {
					if r.inside == "" {
						continue // it would end the proxy
					}
					if got := c.try(r.method, r.path, s.Admin.Port); got != r.inside {
						t.Errorf("%s %s from %s: %s, want %s", r.method, r.path, c.name, got, r.inside)
					}
				}
			}
			if state := p.state(); state != "LIVE" {
				t.Errorf("state %q after all requests, want LIVE", state)
			}
		})
	}
}

func TestAPrivateAdminPortTellsNothingButWhetherEnvoyIsReady(t *testing.T) {
	server, folder := serve(t, serverName), newCredentialFolder(t)
	folder.token("x")
	s := settings(t, server, folder)
	s.Admin.ReadyOnly, s.Admin.Open = true, true
	p := start(t, binary(t, newest), s)
	eventually(t, 10*time.Second, "state", "LIVE", p.state)
	loopback, outside := places(t, "4")
	for _, c := range append(loopback, outside...) {
		for path, want := range map[string]string{"/ready": "200", "/stats": "403", "/server_info": "403", "/config_dump": "403"} {
			if got := c.try("GET", path, s.Admin.Port); got != want {
				t.Errorf("%s from %s: %s, want %s", path, c.name, got, want)
			}
		}
	}
}

func TestTheAdminPortOpensOnlyWithAConfiguration(t *testing.T) {
	server, folder := serve(t, serverName), newCredentialFolder(t)
	folder.token("")
	s := settings(t, server, folder)
	p := start(t, binary(t, newest), s)
	eventually(t, 10*time.Second, "state", "PRE_INITIALIZING", p.state)
	here := caller{"loopback", "127.0.0.1"}
	if got := here.try("GET", "/ready", s.Admin.Port); !strings.Contains(got, "connection refused") {
		t.Errorf("before any configuration: %s, want connection refused", got)
	}
	folder.token("x")
	eventually(t, 10*time.Second, "admin port", "200", func() string { return here.try("GET", "/ready", s.Admin.Port) })
}

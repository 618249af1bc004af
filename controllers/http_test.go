package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/identity"
)

// request sends one request and says on which local port, and whether the connection had been used before.
func request(t *testing.T, c *http.Client, url string) (port int, reused bool, err error) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		port, reused = i.Conn.LocalAddr().(*net.TCPAddr).Port, i.Reused
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return port, reused, err
}

func TestAReplicaThatEndsSendsItsClientsToOthersAndRefusesNone(t *testing.T) {
	t.Parallel()
	authority, err := identity.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issuer := identity.NewIssuer(authority, identity.Names{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Hour, time.Now)
	secure := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: issuer.ServerConfig().GetCertificate, NextProtos: []string{"h2", "http/1.1"}}
	address := freeAddress(t)
	ctx, end := context.WithCancel(t.Context())
	draining, drain := context.WithCancel(ctx)
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- serveDraining(ctx, draining, address, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto)
		}), func() { close(listening) })
	}()
	<-listening
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.PEM())
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	url := "https://" + address
	first, _, err := request(t, client, url)
	if err != nil {
		t.Fatal(err)
	}
	if again, reused, err := request(t, client, url); err != nil || !reused || again != first {
		t.Fatalf("the second request went over port %d (reused: %v, %v), not over %d", again, reused, err, first)
	}

	drain()
	// The connection is closed without a request: the client finds out while it is idle.
	for deadline := time.Now().Add(10 * time.Second); ; {
		port, _, err := request(t, client, url)
		if err != nil {
			t.Fatalf("a request while the replica drains: %v", err)
		}
		if port != first {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection of before is used on")
		}
	}
	seen := map[int]bool{}
	for range 20 {
		port, _, err := request(t, client, url)
		if err != nil {
			t.Fatalf("a request while the replica drains: %v", err)
		}
		if seen[port] {
			t.Errorf("port %d carries a second request", port)
		}
		seen[port] = true
	}

	end()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, _, err := request(t, client, url); err == nil {
		t.Error("the port is open after the end")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRequestsUnderWayAreAnsweredBeforeTheEnd has one request that began before the replica drained, and one that began later.
func TestRequestsUnderWayAreAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	ctx, end := context.WithCancel(t.Context())
	draining, drain := context.WithCancel(ctx)
	listening, ended := make(chan struct{}), make(chan error, 1)
	arrived, release := make(chan struct{}), make(chan struct{})
	go func() {
		ended <- serveDraining(ctx, draining, address, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			arrived <- struct{}{}
			<-release
			fmt.Fprint(w, "done")
		}), func() { close(listening) })
	}()
	<-listening
	answers := make(chan error, 2)
	ask := func() {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
		go func() {
			_, _, err := request(t, client, "http://"+address)
			answers <- err
		}()
		<-arrived
	}
	ask()
	drain()
	ask()
	end()
	// The port is closed, and both requests are under way still.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the port stays open")
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended, %v, before the requests were answered", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("a request that was under way: %v", err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

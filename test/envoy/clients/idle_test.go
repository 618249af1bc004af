package clients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNoRequestMeetsTheEndOfItsConnection sends 2 400 requests from callers without a proxy, each at the moment at which the application
// ends connections that were idle for its limit. As many go through a proxy to the same application, and to a server outside the mesh.
// The first requests all come at once, so that the proxy also has to open 1 200 connections to itself.
func TestNoRequestMeetsTheEndOfItsConnection(t *testing.T) {
	const (
		limit   = 2 * time.Second // gunicorn's, the shortest of common ones
		callers = 600
		rounds  = 4
	)
	for _, address := range []string{"127.0.0.1:8080", services + ":8080"} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{IdleTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })}
		go func() { _ = s.Serve(l) }() // ends with the listener
		t.Cleanup(func() { _ = s.Close() })
	}
	open := strings.Replace(shared, "spec: {namespaceSelector: {}}", "spec: {egressFilter: {type: ALLOW_ALL}, namespaceSelector: {}}", 1)
	onEachEnvoy(t, open, func(t *testing.T, _ *lab) {
		var wg sync.WaitGroup
		for _, c := range []struct{ what, address, host string }{
			{"without a proxy", back + ":8080", "back.demo"}, {"through a proxy", services + ":8080", "back.demo"},
			{"of a host outside the mesh", services + ":8080", "stranger.example"},
		} {
			wg.Go(func() {
				failed, first := idleCallers(callers, rounds, c.address, c.host, limit)
				t.Logf("callers %s: %d of %d requests failed", c.what, failed, callers*rounds)
				if failed > 0 {
					t.Errorf("callers %s: %d of %d requests failed, want 0: %v", c.what, failed, callers*rounds, first)
				}
			})
		}
		wg.Wait()
	})
}

// idleCallers returns how many requests failed, and the first fault. Each caller sends on one connection, and waits for the limit in between;
// the moments are spread over 3 ms before and after.
func idleCallers(callers, rounds int, address, host string, limit time.Duration) (int, error) {
	results := make(chan error, callers*rounds)
	for i := range callers {
		go func() {
			pause := limit + time.Duration(i%61-30)*100*time.Microsecond
			for range idleCaller(address, host, rounds, pause, results) {
				results <- errors.New("the connection had ended")
			}
		}()
	}
	failed := 0
	var first error
	for range callers * rounds {
		if err := <-results; err != nil {
			if failed++; first == nil {
				first = err
			}
		}
	}
	return failed, first
}

// idleCaller sends requests on one connection until one fails, and returns how many are left then.
func idleCaller(address, host string, rounds int, pause time.Duration, results chan<- error) int {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		results <- err
		return rounds - 1
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for n := range rounds {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
			return rounds - n
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			results <- err
			return rounds - n - 1
		}
		if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", resp.Status)
		}
		results <- err
		time.Sleep(pause)
	}
	return 0
}

// Command app is both applications of the demo: a server that says its color, and a caller that asks for it all the time and counts
// who answered. They are ordinary programs that know nothing of a mesh.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: app serve COLOR | app call URL")
		os.Exit(2)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	failed := make(chan error, 2)
	switch os.Args[1] {
	case "serve":
		go func() { failed <- http.ListenAndServe(":8080", color(os.Args[2])) }()
	case "call":
		c := &caller{url: os.Args[2], answers: map[string]int{}, failures: map[string]int{}}
		go c.run()
		go func() { failed <- http.ListenAndServe(":8080", http.NotFoundHandler()) }()
		go func() { failed <- http.ListenAndServe(statsAddress, c) }()
	}
	select {
	case <-stop:
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// statsAddress is where the caller tells its counts; the mesh does not intercept that port.
const statsAddress = ":19999"

func color(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
}

// Steady load: 8 workers, one request each 20 milliseconds, are 400 requests per second.
const (
	workers = 8
	period  = 20 * time.Millisecond
)

// caller keeps counts; it is safe for concurrent use.
type caller struct {
	url    string
	client http.Client

	mu       sync.Mutex
	answers  map[string]int
	failures map[string]int
}

func (c *caller) run() {
	c.client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	for i := range workers {
		go func() {
			time.Sleep(period / workers * time.Duration(i))
			for range time.Tick(period) {
				c.call()
			}
		}()
	}
}

func (c *caller) call() {
	answer, err := c.get()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failures[err.Error()]++
		return
	}
	c.answers[answer]++
}

func (c *caller) get() (string, error) {
	resp, err := c.client.Get(c.url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %.80s", resp.StatusCode, b)
	}
	return string(b), nil
}

// ServeHTTP tells the counts since the start.
func (c *caller) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := json.NewEncoder(w).Encode(map[string]any{"answers": c.answers, "failures": c.failures}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

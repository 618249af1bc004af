package clients

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// application is the process behind the proxies of back and web.
type application struct {
	mu       sync.Mutex
	executed map[string]int // requests by id
	arrived  chan string
	release  chan struct{}
}

// serve starts an application on ports of 127.0.0.1, in HTTP/1.1 and HTTP/2.
func serve(t *testing.T, ports ...int) *application {
	t.Helper()
	a := &application{executed: map[string]int{}, arrived: make(chan string, 1000), release: make(chan struct{})}
	for _, port := range ports {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: a, Protocols: new(http.Protocols), MaxHeaderBytes: 4 << 20}
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = s.Serve(l) }() // ends with the listener
		t.Cleanup(func() { _ = s.Close() })
	}
	return a
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/hold":
		a.mu.Lock()
		a.executed[r.URL.Query().Get("id")]++
		held := a.release
		a.mu.Unlock()
		a.arrived <- r.URL.Query().Get("id")
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	case "/never": // until the client goes
		a.arrived <- "never"
		<-r.Context().Done()
	case "/reset":
		panic(http.ErrAbortHandler)
	case "/large":
		block := make([]byte, 1<<16)
		for range 1 << 10 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	case "/headers":
		for i := range 200 {
			w.Header().Set(fmt.Sprintf("h-%d", i), "x")
		}
	case "/header":
		size := 100_000
		if n, err := strconv.Atoi(r.URL.Query().Get("kib")); err == nil {
			size = n << 10
		}
		w.Header().Set("h", strings.Repeat("|", size)) // does not compress
	case "/ws":
		a.webSocket(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("seen-host", r.Host)
	w.Header().Set("seen-for", r.Header.Get("X-Forwarded-For"))
	w.Header().Set("seen-proto", r.Header.Get("X-Forwarded-Proto"))
	w.Header().Set("seen-upgrade", r.Header.Get("Upgrade"))
	fmt.Fprint(w, "ok")
}

// webSocket answers a handshake and sends back one line.
func (a *application) webSocket(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	line, err := buffered.ReadString('\n')
	if err == nil {
		_, _ = io.WriteString(c, line)
	}
}

// held is some requests that wait in the application.
type held struct {
	t       *testing.T
	a       *application
	results chan error
	n       int
}

// hold sends n POSTs to an address and waits until all of them are with the application.
func (a *application) hold(t *testing.T, n int, address, host string) *held {
	t.Helper()
	a.mu.Lock()
	a.release = make(chan struct{})
	a.executed = map[string]int{}
	a.mu.Unlock()
	h := &held{t: t, a: a, results: make(chan error, n), n: n}
	for i := range n {
		go func() {
			h.results <- post(address, host, fmt.Sprintf("/hold?id=%d", i))
		}()
	}
	for range n {
		select {
		case <-a.arrived:
		case <-time.After(10 * time.Second):
			t.Fatalf("the requests do not reach the application by %s", address)
		}
	}
	return h
}

// unharmed lets the requests be answered, and demands that each was, with 200, and was executed once.
func (h *held) unharmed(after string) {
	h.t.Helper()
	close(h.a.release)
	for range h.n {
		select {
		case err := <-h.results:
			if err != nil {
				h.t.Errorf("%s: another client's request: %v", after, err)
			}
		case <-time.After(10 * time.Second):
			h.t.Errorf("%s: another client's request is not answered", after)
		}
	}
	h.a.mu.Lock()
	defer h.a.mu.Unlock()
	for id, n := range h.a.executed {
		if n != 1 {
			h.t.Errorf("%s: request %s was executed %d times", after, id, n)
		}
	}
}

func post(address, host, path string) error {
	a, err := exchange(address, "POST "+path+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 2\r\n\r\nhi")
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("got %d", a.StatusCode)
	}
	return err
}

// exchange sends bytes on a connection of their own and reads one response.
func exchange(address, request string) (*http.Response, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

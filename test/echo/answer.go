package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// Headers by which a chain of instances tells about itself.
const (
	chainHeader = "X-Echo-Chain"
	seenHeader  = "X-Echo-Seen"
	podHeader   = "X-Echo-Pod"
)

// restMark stands for what follows the prefix of Forward.When, at the ends of When and To.
const restMark = "<rest>"

// echo is one instance; it is safe for concurrent use.
type echo struct {
	config Config
	pod    string // host name, which is the pod's name
	http1  *http.Client
	http2  *http.Client
	turn   atomic.Int64 // for conditions that take turns

	mu    sync.Mutex
	state string // what gRPC's Set stored
	seen  int    // requests that reached this instance
	paths map[string]int
	force int  // status to answer with instead, 0 for none
	ill   bool // what rules with Fault remember
	conns map[string]*grpc.ClientConn
	loads map[string]*load
}

func newEcho(c Config) *echo {
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	const timeout, idle = 90 * time.Second, 100
	pod, err := os.Hostname()
	if err != nil {
		pod = "unknown"
	}
	return &echo{
		config: c, pod: pod, state: c.Identity, paths: map[string]int{}, loads: map[string]*load{},
		http1: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: idle}},
		http2: &http.Client{Timeout: timeout, Transport: h2},
	}
}

// load returns the load of a name, which sends nothing until it is started.
func (e *echo) load(name string) *load {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.loads[name]
	if l == nil {
		l = &load{send: e.one}
		e.loads[name] = l
	}
	return l
}

// portMark in an identity stands for the port that took the request.
const portMark = "<port>"

// identity returns what an answer on a connection says, by the connection's local address.
func (e *echo) identity(local net.Addr) string { return atPort(e.config.Identity, local) }

func atPort(text string, local net.Addr) string {
	if tcp, ok := local.(*net.TCPAddr); ok {
		return strings.ReplaceAll(text, portMark, strconv.Itoa(tcp.Port))
	}
	return text
}

// localAddress of the connection that brought an HTTP request; nil outside of a server.
func localAddress(r *http.Request) net.Addr {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return local
}

// client for a protocol: HTTP/2 in clear text, or HTTP/1.1.
func (e *echo) client(protocol string) *http.Client {
	if protocol == "h2c" || protocol == "http2" {
		return e.http2
	}
	return e.http1
}

// sender returns the client for an order.
func (e *echo) sender(o order.HTTP) *http.Client {
	if o.Trust == "" {
		return e.client(o.Protocol)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(o.Trust))
	return &http.Client{Timeout: e.http1.Timeout, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
}

// count notes a request and returns the status it is to be answered with, 0 for the usual one.
func (e *echo) count(path string) int {
	e.note(path)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen++
	return e.force
}

// note counts a path, unless there are too many to tell apart.
func (e *echo) note(path string) {
	const most = 1000
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.paths[path]; known || len(e.paths) < most {
		e.paths[path]++
	}
}

func (e *echo) answer(w http.ResponseWriter, r *http.Request) {
	identity := e.identity(localAddress(r))
	if code := e.count(r.URL.Path); code != 0 {
		w.Header().Set(chainHeader, identity)
		http.Error(w, identity, code)
		return
	}
	for _, f := range e.config.Forwards {
		if e.matches(f.When, r) {
			e.forward(w, r, f)
			return
		}
	}
	w.Header().Set(chainHeader, identity)
	w.Header().Set(seenHeader, fmt.Sprintf("%s %s %s", r.Proto, r.Host, r.URL.RequestURI()))
	w.Header().Set(podHeader, e.pod)
	if e.rules(w, r) {
		return
	}
	fmt.Fprint(w, identity)
}

// matches compares a request with the condition of a forward or of a rule.
func (e *echo) matches(when string, r *http.Request) bool {
	switch when {
	case "every other request":
		return e.turn.Add(1)%2 == 1
	case "the others":
		return true
	}
	if not, ok := strings.CutPrefix(when, "any path but "); ok {
		return !strings.HasPrefix(r.URL.Path, not)
	}
	method, prefix := condition(when)
	return (method == "" || r.Method == method) && strings.HasPrefix(r.URL.Path, prefix)
}

// condition splits "METHOD /prefix/<rest>" into method and prefix.
func condition(when string) (method, prefix string) {
	when = strings.TrimSuffix(when, restMark)
	if method, prefix, ok := strings.Cut(when, " "); ok {
		return method, prefix
	}
	return "", when
}

// target is the URL to forward a request to.
func (f Forward) target(r *http.Request) string {
	_, prefix := condition(f.When)
	uri := r.URL.RequestURI()
	return strings.Replace(strings.Replace(f.To, "/<same path>", uri, 1), restMark, strings.TrimPrefix(uri, prefix), 1)
}

// forward passes a request on, and status, body and chain of the answer back.
func (e *echo) forward(w http.ResponseWriter, r *http.Request, f Forward) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.Protocol == "grpc" {
		e.forwardGRPC(w, r, f, body)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, f.target(r), strings.NewReader(string(body)))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for name, values := range r.Header {
		for _, want := range f.Headers {
			if want == "*" || strings.EqualFold(want, name) {
				req.Header[name] = values
			}
		}
	}
	resp, err := e.client(f.Protocol).Do(req)
	if err != nil {
		w.Header().Set(chainHeader, e.identity(localAddress(r)))
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set(chainHeader, join(e.identity(localAddress(r)), resp.Header.Get(chainHeader)))
	w.Header().Set(seenHeader, resp.Header.Get(seenHeader))
	w.Header().Set(podHeader, resp.Header.Get(podHeader))
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the caller sees a short body
}

func join(first, rest string) string {
	if rest == "" {
		return first
	}
	return first + "," + rest
}

// forwardGRPC makes a gRPC call of a request; a gRPC error becomes a 404 with the error as text.
func (e *echo) forwardGRPC(w http.ResponseWriter, r *http.Request, f Forward, body []byte) {
	target, method, _ := strings.Cut(f.To, " ")
	answer, header, err := callGRPC(r.Context(), target, "/"+method, nil, body)
	w.Header().Set(chainHeader, join(e.identity(localAddress(r)), header[strings.ToLower(chainHeader)]))
	if err != nil {
		http.Error(w, fmt.Sprintf("%s: %s", status.Code(err), status.Convert(err).Message()), http.StatusNotFound)
		return
	}
	fmt.Fprint(w, string(answer))
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// Headers by which a chain of instances tells about itself.
const (
	chainHeader = "X-Echo-Chain"
	seenHeader  = "X-Echo-Seen"
)

// echo is one instance; it is safe for concurrent use.
type echo struct {
	config Config
	http1  *http.Client
	http2  *http.Client

	mu    sync.Mutex
	state string // what gRPC's Set stored
	seen  int    // requests that reached this instance
	force int    // status to answer with instead, 0 for none
}

func newEcho(c Config) *echo {
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	const timeout, idle = 90 * time.Second, 100
	return &echo{
		config: c, state: c.Identity,
		http1: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: idle}},
		http2: &http.Client{Timeout: timeout, Transport: h2},
	}
}

// count notes a request and returns the status it is to be answered with, 0 for the usual one.
func (e *echo) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen++
	return e.force
}

func (e *echo) answer(w http.ResponseWriter, r *http.Request) {
	if code := e.count(); code != 0 {
		w.Header().Set(chainHeader, e.config.Identity)
		http.Error(w, e.config.Identity, code)
		return
	}
	for _, f := range e.config.Forwards {
		if f.matches(r) {
			e.forward(w, r, f)
			return
		}
	}
	w.Header().Set(chainHeader, e.config.Identity)
	w.Header().Set(seenHeader, fmt.Sprintf("%s %s %s", r.Proto, r.Host, r.URL.RequestURI()))
	fmt.Fprint(w, e.config.Identity)
}

func (f Forward) matches(r *http.Request) bool {
	if not, ok := strings.CutPrefix(f.When, "any path but "); ok {
		return !strings.HasPrefix(r.URL.Path, not)
	}
	method, path, ok := strings.Cut(f.When, " ")
	if !ok {
		return strings.HasPrefix(r.URL.Path, f.When)
	}
	return r.Method == method && strings.HasPrefix(r.URL.Path, path)
}

// forward passes a request on, and status, body and chain of the answer back.
func (e *echo) forward(w http.ResponseWriter, r *http.Request, f Forward) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.Protocol == "grpc" {
		e.forwardGRPC(r.Context(), w, f, body)
		return
	}
	url := strings.Replace(f.To, "/<same path>", r.URL.RequestURI(), 1)
	req, err := http.NewRequestWithContext(r.Context(), r.Method, url, strings.NewReader(string(body)))
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
	client := e.http1
	if f.Protocol == "h2c" || f.Protocol == "http2" {
		client = e.http2
	}
	resp, err := client.Do(req)
	if err != nil {
		w.Header().Set(chainHeader, e.config.Identity)
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set(chainHeader, join(e.config.Identity, resp.Header.Get(chainHeader)))
	w.Header().Set(seenHeader, resp.Header.Get(seenHeader))
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
func (e *echo) forwardGRPC(ctx context.Context, w http.ResponseWriter, f Forward, body []byte) {
	target, method, _ := strings.Cut(f.To, " ")
	answer, chain, err := callGRPC(ctx, target, "/"+method, nil, body)
	w.Header().Set(chainHeader, join(e.config.Identity, chain))
	if err != nil {
		http.Error(w, fmt.Sprintf("%s: %s", status.Code(err), status.Convert(err).Message()), http.StatusNotFound)
		return
	}
	fmt.Fprint(w, string(answer))
}

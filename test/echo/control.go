package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// control is the API of the control port.
func (e *echo) control() http.Handler {
	mux := http.NewServeMux()
	handle(mux, "/request", e.request)
	handle(mux, "/grpc", func(ctx context.Context, o order.GRPC) order.GRPCResult {
		const timeout = 20 * time.Second
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		answer, header, err := callGRPC(ctx, o.Target, "/"+o.Service+"/"+o.Method, o.Metadata, []byte(o.Body))
		return order.GRPCResult{
			Code: int(status.Code(err)), Message: status.Convert(err).Message(),
			Chain: header[strings.ToLower(chainHeader)], Answer: string(answer), Metadata: header,
		}
	})
	handle(mux, "/tcp", dial)
	handle(mux, "/make", func(_ context.Context, o order.Make) order.Seen {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.force, e.seen, e.paths = o.Status, 0, map[string]int{}
		return order.Seen{}
	})
	handle(mux, "/seen", func(context.Context, struct{}) order.Seen {
		e.mu.Lock()
		defer e.mu.Unlock()
		return order.Seen{Requests: e.seen, Paths: maps.Clone(e.paths)}
	})
	handle(mux, "/load/start", func(_ context.Context, o order.Load) order.LoadState { return e.load(o.Name).start(o) })
	handle(mux, "/load/mark", func(_ context.Context, o order.LoadName) order.LoadState { return e.load(o.Name).mark() })
	handle(mux, "/load/stop", func(_ context.Context, o order.LoadName) order.LoadState { return e.load(o.Name).stop() })
	handle(mux, "/load", func(_ context.Context, o order.LoadName) order.LoadState { return e.load(o.Name).state() })
	return mux
}

// handle answers orders; an empty body is an empty order.
func handle[In, Out any](mux *http.ServeMux, path string, do func(context.Context, In) Out) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := json.NewEncoder(w).Encode(do(r.Context(), in)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// request makes the ordered requests and groups equal answers.
func (e *echo) request(ctx context.Context, o order.HTTP) order.HTTPResult {
	groups := map[string]*order.Group{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	jobs := make(chan struct{})
	for range max(1, o.Concurrency) {
		wg.Go(func() {
			for range jobs {
				g := e.one(ctx, o)
				mu.Lock()
				key := fmt.Sprint(g.Status, g.Chain, g.Error)
				if old := groups[key]; old == nil {
					groups[key] = &g
				} else {
					old.Count++
					old.Seconds, old.Slowest = min(old.Seconds, g.Seconds), max(old.Slowest, g.Slowest)
				}
				mu.Unlock()
			}
		})
	}
	for range max(1, o.Count) {
		jobs <- struct{}{}
	}
	close(jobs)
	wg.Wait()
	var out order.HTTPResult
	for _, g := range groups {
		out.Groups = append(out.Groups, *g)
	}
	return out
}

// one makes one request.
func (e *echo) one(ctx context.Context, o order.HTTP) order.Group {
	if o.Protocol == "grpc" {
		return e.oneGRPC(ctx, o)
	}
	start := time.Now()
	g := order.Group{Count: 1}
	req, err := http.NewRequestWithContext(ctx, o.Method, o.URL, strings.NewReader(o.Body))
	if err != nil {
		g.Error = err.Error()
		return g
	}
	for k, v := range o.Headers {
		if http.CanonicalHeaderKey(k) == "Host" {
			req.Host = v
		} else {
			req.Header.Set(k, v)
		}
	}
	resp, err := e.sender(o).Do(req)
	if err != nil {
		g.Error = err.Error()
		return g
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.Error = err.Error()
	}
	g.Status, g.Body, g.Seconds = resp.StatusCode, string(body), time.Since(start).Seconds()
	g.Slowest = g.Seconds
	g.Chain, g.Seen, g.Pod = resp.Header.Get(chainHeader), resp.Header.Get(seenHeader), resp.Header.Get(podHeader)
	g.Headers = map[string]string{}
	for k := range resp.Header {
		g.Headers[k] = resp.Header.Get(k)
	}
	return g
}

// dial opens a connection, sends a line and reads one.
func dial(ctx context.Context, o order.TCP) order.TCPResult {
	const timeout = 5 * time.Second
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", o.Target)
	if err != nil {
		return order.TCPResult{Error: err.Error()}
	}
	defer conn.Close()
	out := order.TCPResult{Connected: true}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		out.Error = err.Error()
		return out
	}
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		out.Error = err.Error()
		return out
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Answer = line[:len(line)-1]
	return out
}

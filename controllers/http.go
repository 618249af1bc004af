package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/aftermesh/aftermesh/pkg/guard"
	injectwebhook "github.com/aftermesh/aftermesh/pkg/inject/webhook"
)

// serveHTTP serves plain HTTP, or HTTPS with a configuration, to clients that are not trusted, until ctx ends.
func serveHTTP(ctx context.Context, address string, secure *tls.Config, h http.Handler, listening func()) error {
	return serveDraining(ctx, ctx, address, secure, h, listening)
}

// serveDraining is serveHTTP that asks its clients to connect elsewhere as soon as draining ends: connections of before are closed at
// their next pause, later ones after one request. It returns when every request under way has been answered, or has had its time.
func serveDraining(ctx, draining context.Context, address string, secure *tls.Config, h http.Handler, listening func()) error {
	l, err := listen(ctx, address, httpLimits)
	if err != nil {
		return err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	shared := share(l)
	usual, late := httpServer(h), httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // also ends a connection of HTTP/2
		h.ServeHTTP(w, r)
	}))
	var ending sync.WaitGroup
	ending.Add(2)
	stopUsual := context.AfterFunc(draining, func() { defer ending.Done(); shutdown(usual) })
	stopLate := context.AfterFunc(ctx, func() { defer ending.Done(); shutdown(late) })
	defer func() {
		_ = shared.Close()
		for _, stop := range []func() bool{stopUsual, stopLate} {
			if stop() {
				ending.Done() // it never began
			}
		}
		ending.Wait() // for requests that are under way
	}()
	listening()
	if err := usual.Serve(shared.view()); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if err := late.Serve(shared.view()); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const headerTime, readTime, writeTime, idleTime = 5 * time.Second, 10 * time.Second, 30 * time.Second, 90 * time.Second

func httpServer(h http.Handler) *http.Server {
	const headers, streams, buffer = 16 << 10, 100, 64 << 10
	return &http.Server{
		Handler: h, MaxHeaderBytes: headers, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: streams, MaxReceiveBufferPerConnection: buffer, MaxReceiveBufferPerStream: buffer},
		ErrorLog: log.New(io.Discard, "", 0), // what strangers do is not worth a line each
	}
}

// shutdown lets requests end, for some time, and closes all connections.
func shutdown(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}

// hooks is the server of webhooks. Anybody can send reviews to it: it handles a few at a time, fairly among their sources, and none that
// is too large.
type hooks struct {
	webhook.Server // registers the webhooks with their metrics; it is never started
	port           int
	secure         *tls.Config
	mux            *http.ServeMux
	started        atomic.Bool
	draining       context.Context // ends before the context of Start
	panicked       func(reason any, stack []byte)
}

func newHooks(draining context.Context, port int, secure *tls.Config, panicked func(reason any, stack []byte)) *hooks {
	mux := http.NewServeMux()
	return &hooks{Server: webhook.NewServer(webhook.Options{WebhookMux: mux}), port: port, secure: secure, mux: mux, draining: draining, panicked: panicked}
}

const (
	// reviewBytes is what an API server lets through of one object, and its envelope.
	reviewBytes = 3<<20 + 256<<10
	// podWeight and objectWeight bound the objects in a review's JSON: of a pod each may become a container, which takes a kilobyte.
	podWeight, objectWeight = 10_000, 100_000
)

// Start implements webhook.Server.
func (h *hooks) Start(ctx context.Context) error {
	// As many as there are processors: answering takes one, and the configuration of proxies must not wait for it.
	const waiting, all, patience = 512, 2048, 8 * time.Second
	few := max(2, runtime.GOMAXPROCS(0))
	const allBytes, sourceBytes, ownBytes = 32 << 20, 12 << 20, 256 << 10
	turns := &guard.Turns{Count: few, Waiting: waiting, WaitingAll: all, Patience: patience}
	bodies := &guard.Bodies{Most: reviewBytes, All: allBytes, PerSource: sourceBytes, Own: ownBytes}
	handler := bodies.Wrap(turns.Wrap(contained(h.mux, h.panicked)), func(path string) int {
		if path == injectwebhook.Path {
			return podWeight
		}
		return objectWeight
	})
	return serveDraining(ctx, h.draining, fmt.Sprintf(":%d", h.port), h.secure, handler, func() { h.started.Store(true) })
}

// StartedChecker implements webhook.Server.
func (h *hooks) StartedChecker() healthz.Checker {
	return func(*http.Request) error {
		if !h.started.Load() {
			return errors.New("the webhooks do not listen yet")
		}
		return nil
	}
}

// serveMetrics serves metrics, a few scrapes at a time.
func (op *operator) serveMetrics() {
	if op.MetricsAddr == "0" {
		return
	}
	const few = 2
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: few}))
	op.early = append(op.early, func(ctx context.Context) error { return serveHTTP(ctx, op.MetricsAddr, nil, mux, func() {}) })
}

// serveHealth answers kubelet.
func (op *operator) serveHealth(live, ready map[string]healthz.Checker) {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": live, "/readyz": ready} {
		h := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, h)
		mux.Handle(path+"/", h)
	}
	op.early = append(op.early, func(ctx context.Context) error {
		return serveHTTP(ctx, fmt.Sprintf(":%d", op.HealthPort), nil, mux, func() {})
	})
}

// contained answers 500 when a handler panics; net/http would cut the connection, which others use too.
func contained(h http.Handler, panicked func(reason any, stack []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if reason := recover(); reason != nil {
				panicked(reason, debug.Stack())
				http.Error(w, "the control plane failed at this request; its log says why", http.StatusInternalServerError)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

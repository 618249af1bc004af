package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds/peer"
)

const (
	// Audience is what tokens for this API are made for.
	Audience = "aftermesh-admin"
	// ServiceAccount is whom such tokens name, in the operator's namespace.
	ServiceAccount = "aftermesh-admin"
)

// Proxy is one injected pod or one connected proxy.
type Proxy struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Node is the group the pod belongs to, with App Mesh's name of the node or gateway.
	Node string `json:"node"`
	// State is Synced, Pending, Rejected, Unknown or Disconnected.
	State string `json:"state"`
	// Replica that serves it, empty for the one that answers.
	Replica string `json:"replica,omitempty"`
	Message string `json:"message,omitempty"`
	// AckedSet and Set are versions of content: what the proxy has acknowledged, and what it should have.
	AckedSet string `json:"acked,omitempty"`
	Set      string `json:"set,omitempty"`
}

// Server answers requests. Authorize checks a bearer token.
type Server struct {
	Snapshot  func() *pipeline.Snapshot
	Rows      func() []peer.Row
	Authorize func(ctx context.Context, token string) error
}

// Handler returns the routes of the API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/proxies", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Proxies()) })
	mux.HandleFunc("GET /v1/explain", s.explain)
	return s.authorized(mux)
}

func (s *Server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" {
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		if err := s.Authorize(r.Context(), token); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// Proxies lists every injected pod and every connected proxy, sorted by namespace and pod.
func (s *Server) Proxies() []Proxy {
	rows := map[string]peer.Row{}
	for _, r := range s.Rows() {
		if had, ok := rows[r.Pod]; !ok || had.Connected.Before(r.Connected) {
			rows[r.Pod] = r
		}
	}
	out := []Proxy{}
	if snap := s.Snapshot(); snap != nil {
		for _, p := range snap.Result.Model.Proxies {
			row, connected := rows[p.ID]
			delete(rows, p.ID)
			if !connected && !p.Counted {
				continue
			}
			e := Proxy{Namespace: p.Namespace, Pod: p.Name, Node: p.Group, State: "Disconnected"}
			if connected {
				e.fill(row)
			}
			out = append(out, e)
		}
	}
	for id, r := range rows {
		e := Proxy{Namespace: r.Namespace, Pod: cmp.Or(r.Name, id), Node: r.Group}
		e.fill(r)
		out = append(out, e)
	}
	slices.SortFunc(out, func(x, y Proxy) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Pod, y.Pod))
	})
	return out
}

func (p *Proxy) fill(r peer.Row) {
	p.Replica, p.AckedSet, p.Set, p.Message = r.Replica, r.AckedSet, r.SetVersion, r.Rejected
	switch {
	case r.Unknown:
		p.State = "Unknown"
	case r.Rejected != "":
		p.State = "Rejected"
	case r.AckedSet == r.SetVersion && r.AckedSet != "":
		p.State = "Synced"
	default:
		p.State = "Pending"
	}
}

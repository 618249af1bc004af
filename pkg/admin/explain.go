package admin

import (
	"net/http"

	"github.com/aftermesh/aftermesh/pkg/explain"
)

// explain answers what a request would meet in the last snapshot.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	request, err := explain.NewRequest(q.Get("method"), q.Get("url"), q["header"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	snap := s.Snapshot()
	if snap == nil {
		http.Error(w, "nothing has been compiled yet", http.StatusServiceUnavailable)
		return
	}
	a, err := explain.From(snap.Result.Model, snap.Sets, q.Get("from"), request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	reply(w, a)
}

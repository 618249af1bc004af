package peer

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

type rows struct {
	mu   sync.Mutex
	list []Row
}

func (r *rows) set(list ...Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = list
}

func (r *rows) get() []Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal(what)
}

func TestTableFollowsAPeerAndDistrustsItWhenItIsGone(t *testing.T) {
	t.Parallel()
	own := &rows{}
	own.set(Row{Pod: "a", AckedSet: "1"}, Row{Pod: "b", AckedSet: "1"})
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	(&Server{Rows: own.get, Period: time.Millisecond}).Register(g)
	go func() { _ = g.Serve(l) }()
	table := &Table{Dial: func(string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	}}
	table.Set(t.Context(), []string{"peer"})
	eventually(t, "the rows of the peer never arrived", func() bool { return len(table.Rows()) == 2 })
	own.set(Row{Pod: "a", AckedSet: "2"})
	eventually(t, "the change never arrived", func() bool {
		r := table.Rows()
		return len(r) == 1 && r[0].AckedSet == "2" && !r[0].Unknown && r[0].Replica == "peer"
	})
	g.Stop()
	eventually(t, "rows of an unreachable peer must become unknown", func() bool {
		r := table.Rows()
		return len(r) == 1 && r[0].Unknown
	})
	table.Set(t.Context(), nil)
	if r := table.Rows(); len(r) != 0 {
		t.Errorf("rows of a peer that does not exist any more: %v", r)
	}
}

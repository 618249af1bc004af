package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"
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

// wire is a connection that can be cut without being closed: nothing arrives any more, and nobody is told.
type wire struct {
	net.Conn
	cut, closed chan struct{}
	once        sync.Once
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	select {
	case <-w.cut:
		<-w.closed // as in a partition
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

func TestAPeerBehindACutWireBecomesUnknown(t *testing.T) {
	t.Parallel()
	own := &rows{}
	own.set(Row{Pod: "a", AckedSet: "1"})
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	(&Server{Rows: own.get}).Register(g)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	cut := make(chan struct{})
	table := &Table{Dial: func(string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				c, err := l.DialContext(ctx)
				return &wire{Conn: c, cut: cut, closed: make(chan struct{})}, err
			}))
	}}
	table.Set(t.Context(), []string{"peer"})
	known := func(unknown bool) func() bool {
		return func() bool { r := table.Rows(); return len(r) == 1 && r[0].Unknown == unknown }
	}
	eventually(t, "the row never arrived", known(false))
	time.Sleep(silence + alive/2) // a peer that has nothing to say stays known
	if !known(false)() {
		t.Fatal("a silent but living peer became unknown")
	}
	close(cut)
	eventually(t, "rows behind a cut wire must become unknown", known(true))
}

func TestChangesAreToldWhenTheyHappen(t *testing.T) {
	t.Parallel()
	own := &rows{}
	seen := map[string]string{"Pod": "9", "Service": "5"}
	changed := make(chan struct{}, 1)
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	(&Server{
		Rows: own.get, Seen: func() map[string]string { return seen }, Period: time.Millisecond,
		Watch: func() (<-chan struct{}, func()) { return changed, func() {} },
	}).Register(g)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	table := &Table{Dial: func(string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	}}
	table.Set(t.Context(), []string{"peer"})
	eventually(t, "the peer is never reached", func() bool { n, _ := table.Reachable(); return n == 1 })
	begin := time.Now()
	own.set(Row{Pod: "a"})
	changed <- struct{}{}
	eventually(t, "the row never arrived", func() bool { return len(table.Rows()) == 1 })
	if d := time.Since(begin); d > alive/2 {
		t.Errorf("told after %v, which is by chance", d)
	}
	for name, c := range map[string]struct {
		own  map[string]string
		want string
	}{
		"as far as the peer":             {map[string]string{"Pod": "9", "Service": "5"}, ""},
		"ahead, by more digits":          {map[string]string{"Pod": "10", "Service": "5"}, ""},
		"behind":                         {map[string]string{"Pod": "8", "Service": "5"}, "Pod"},
		"nothing seen yet":               {map[string]string{"Pod": "", "Service": "5"}, "Pod"},
		"a kind that is not watched":     {map[string]string{"Service": "5"}, ""},
		"a kind the peer does not watch": {map[string]string{"Pod": "9", "Route": "1"}, ""},
	} {
		if got := strings.Join(table.Behind(c.own), ","); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestAnyNumberOfRowsArrivesAndABadOneCostsItself: messages are bounded, a table in several of them counts as a whole, and a row that
// cannot be read, or says too much, keeps the others from nobody.
func TestAnyNumberOfRowsArrivesAndABadOneCostsItself(t *testing.T) {
	t.Parallel()
	own := &rows{}
	var list []Row
	const many = 3*rowsPerMessage + 7
	for i := range many {
		list = append(list, Row{Pod: fmt.Sprint(i), Rejected: strings.Repeat("x", 4*maxText)})
	}
	own.set(list...)
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	(&Server{Rows: own.get, Period: time.Millisecond}).Register(g)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	table := &Table{Dial: func(string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///peer", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	}}
	table.Set(t.Context(), []string{"peer"})
	eventually(t, "the rows never arrived", func() bool {
		n := len(table.Rows())
		if n != 0 && n != many {
			t.Errorf("%d rows count before the others have come", n)
		}
		return n == many
	})
	for _, r := range table.Rows() {
		if len(r.Rejected) != maxText {
			t.Fatalf("a text of %d bytes came in", len(r.Rejected))
		}
	}
	u, err := decode(wrapperspb.Bytes([]byte(`{"set":[{"pod":"a"},{"pod":7},"x",{},{"pod":"b","connected":"never"},{"pod":"c"}],"gone":["d"]}`)))
	if err != nil || len(u.Set) != 2 || u.Set[0].Pod != "a" || u.Set[1].Pod != "c" || len(u.Gone) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

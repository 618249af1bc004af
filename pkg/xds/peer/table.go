package peer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Table follows the other replicas. It is safe for concurrent use.
type Table struct {
	// Dial opens a connection to a peer's address.
	Dial func(address string) (*grpc.ClientConn, error)
	// Changed is called after every change.
	Changed func()

	mu    sync.Mutex
	peers map[string]*following
}

// following is one peer that exists.
type following struct {
	stop      context.CancelFunc
	rows      map[string]Row
	seen      map[string]string
	reachable bool
}

// Set says which peers exist now, by address. New ones are followed until ctx ends, missing ones are forgotten.
func (t *Table) Set(ctx context.Context, addresses []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers == nil {
		t.peers = map[string]*following{}
	}
	want := map[string]bool{}
	for _, a := range addresses {
		want[a] = true
		if t.peers[a] == nil {
			run, stop := context.WithCancel(ctx)
			f := &following{stop: stop}
			t.peers[a] = f
			go t.follow(run, a, f)
		}
	}
	for a, f := range t.peers {
		if !want[a] {
			f.stop()
			delete(t.peers, a)
		}
	}
}

// Rows returns what the peers said, each row with its replica and whether that can be reached.
func (t *Table) Rows() []Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Row
	for a, f := range t.peers {
		for _, r := range f.rows {
			r.Replica, r.Unknown = a, !f.reachable
			out = append(out, r)
		}
	}
	return out
}

// Reachable returns how many of the peers that exist can be reached.
func (t *Table) Reachable() (reachable, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.peers {
		if f.reachable {
			reachable++
		}
	}
	return reachable, len(t.peers)
}

// Behind returns the kinds of which a reachable peer has seen something newer than own says, by kind. While there is one, what this
// replica would answer may be older than what the peer answered to the same proxy.
func (t *Table) Behind(own map[string]string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	behind := map[string]struct{}{}
	for _, f := range t.peers {
		for kind, version := range f.seen {
			if mine, watched := own[kind]; watched && f.reachable && newer(version, mine) {
				behind[kind] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(behind))
}

// follow reads one peer again and again until ctx ends.
func (t *Table) follow(ctx context.Context, address string, f *following) {
	const pause = 500 * time.Millisecond
	for ctx.Err() == nil {
		// Why a peer cannot be reached does not matter here: its rows are unknown until it can.
		_ = t.read(ctx, address, f)
		t.mark(func() { f.reachable = false })
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (t *Table) read(ctx context.Context, address string, f *following) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mute := time.AfterFunc(silence, cancel)
	defer mute.Stop()
	conn, err := t.Dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := conn.NewStream(ctx, &followDesc, "/"+service+"/"+method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	rows, seen := map[string]Row{}, map[string]string{}
	var begun []Row
	for {
		m := &wrapperspb.BytesValue{}
		if err := stream.RecvMsg(m); err != nil {
			return err
		}
		u, err := decode(m)
		if err != nil {
			return err
		}
		mute.Reset(silence)
		if begun = append(begun, u.Set...); u.More {
			continue
		}
		u.Set, begun = begun, nil
		if len(u.Set)+len(u.Gone)+len(u.Seen) == 0 && t.reachable(f) {
			continue // nothing but a sign of life
		}
		rows, seen = apply(rows, u), maps.Clone(seen)
		maps.Copy(seen, u.Seen)
		t.mark(func() { f.rows, f.seen, f.reachable = rows, seen, true })
	}
}

func (t *Table) reachable(f *following) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.reachable
}

func (t *Table) mark(change func()) {
	t.mu.Lock()
	change()
	t.mu.Unlock()
	if t.Changed != nil {
		t.Changed()
	}
}

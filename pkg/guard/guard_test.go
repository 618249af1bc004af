package guard

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, from the addresses that a test names.
type pipes struct{ waiting chan net.Conn }

type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.waiting
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *pipes) Close() error   { close(p.waiting); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects from an address and returns the client's end.
func (p *pipes) dial(from string) net.Conn {
	client, server := net.Pipe()
	p.waiting <- addressed{server, &net.TCPAddr{IP: net.ParseIP(from)}}
	return client
}

// lab is a listener within limits; what it accepts arrives at accepted.
type lab struct {
	*pipes
	accepted chan *Conn
}

func newLab(t *testing.T, limits Limits) *lab {
	t.Helper()
	l := &lab{&pipes{make(chan net.Conn)}, make(chan *Conn, 100)}
	bounded := New(l.pipes, limits)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := bounded.Accept()
			if err != nil {
				return
			}
			l.accepted <- c.(*Conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l
}

// in is true when a connection was accepted, false when it was closed.
func (l *lab) in(from string) (*Conn, net.Conn) {
	client := l.dial(from)
	synctest.Wait()
	select {
	case c := <-l.accepted:
		return c, client
	default:
		return nil, client
	}
}

func TestOneSourceCannotTakeTheRoomOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{Unproven: 5, PerSource: 3})
		var last *Conn
		for range 3 {
			if last, _ = l.in("192.0.2.1"); last == nil {
				t.Fatal("refused within the limits")
			}
		}
		if c, _ := l.in("192.0.2.1"); c != nil {
			t.Error("a fourth connection of one source")
		}
		known, _ := l.in("192.0.2.2")
		if known == nil {
			t.Fatal("another source is refused")
		}
		release := known.Prove("a", "pod")
		for _, from := range []string{"2001:db8::1", "2001:db8::2"} {
			if c, _ := l.in(from); c == nil {
				t.Fatalf("%s is refused although a known client does not count", from)
			}
		}
		if c, _ := l.in("192.0.2.3"); c != nil {
			t.Error("a sixth connection in all")
		}
		if err := last.Close(); err != nil {
			t.Error(err)
		}
		if c, _ := l.in("192.0.2.3"); c == nil {
			t.Error("a connection that ended counts still")
		}
		// There is no room for it any more when its stream ends.
		release()
		if _, err := known.Read(make([]byte, 1)); err == nil {
			t.Error("a connection beyond the limit stays open")
		}
	})
}

func TestNeighboursInAnIPv6NetworkAreOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{PerSource: 1})
		if c, _ := l.in("2001:db8::1"); c == nil {
			t.Fatal("refused")
		}
		if c, _ := l.in("2001:db8::ffff:1"); c != nil {
			t.Error("a second address of the network is another source")
		}
		if c, _ := l.in("2001:db8:0:1::1"); c == nil {
			t.Error("another network is the same source")
		}
	})
}

func TestConnectionsComeAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{Rate: 1, Burst: 2})
		try := func() bool {
			c, _ := l.in("192.0.2.1")
			return c != nil
		}
		var got []bool
		for range 3 {
			got = append(got, try())
		}
		time.Sleep(time.Second)
		for range 2 {
			got = append(got, try())
		}
		if want := []bool{true, true, false, true, false}; !slices.Equal(got, want) {
			t.Errorf("accepted %v, want two at once and one a second later", got)
		}
	})
}

func TestAConnectionWithoutAKnownClientEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{Life: time.Minute})
		begin := time.Now()
		stranger, _ := l.in("192.0.2.1")
		known, client := l.in("192.0.2.1")
		release := known.Prove("a", "pod")
		if _, err := stranger.Read(make([]byte, 1)); err == nil || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		time.Sleep(time.Hour)
		go func() { _, _ = client.Write([]byte("x")) }()
		if _, err := known.Read(make([]byte, 1)); err != nil {
			t.Errorf("a known client: %v", err)
		}
		release()
		begin = time.Now()
		if _, err := known.Read(make([]byte, 1)); err == nil || time.Since(begin) != time.Minute {
			t.Errorf("after its last stream: %v after %v", err, time.Since(begin))
		}
	})
}

func TestAStrangerMaySendSoMuchOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{Bytes: 1000})
		stranger, client := l.in("192.0.2.1")
		go func() { _, _ = client.Write(make([]byte, 5000)) }()
		n, err := io.Copy(io.Discard, stranger)
		if err == nil || n > 1000 {
			t.Errorf("%d bytes were read, %v", n, err)
		}
		blamed, _ := l.in("192.0.2.1")
		for range 3 {
			blamed.Blame()
		}
		if _, err := blamed.Read(make([]byte, 1)); err == nil {
			t.Error("a connection without a good credential stays open")
		}
	})
}

// TestLargeMessagesTakeTurns: what is held of messages that are being received is bounded, whoever stops in the middle is cut off, and
// one owner leaves room for others.
func TestLargeMessagesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{})
		begin := time.Now()
		// receive reads a message of which the last byte never comes.
		receive := func(owner string) (n *int64, ended func() time.Duration) {
			c, client := l.in("192.0.2.1")
			c.Prove(owner, "pod")
			go func() { _, _ = client.Write(make([]byte, 10*small)) }()
			done := make(chan time.Time, 1)
			n = new(int64)
			go func() {
				*n, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
				done <- time.Now()
			}()
			return n, func() time.Duration { return (<-done).Sub(begin) }
		}
		var ends []func() time.Duration
		for range 2 * largeShare {
			_, ended := receive("evil")
			ends = append(ends, ended)
		}
		n, ended := receive("bank")
		if d := ended(); d != largeTime || *n < 10*small {
			t.Errorf("another owner had to wait: it ended after %v with %d bytes", d, *n)
		}
		for i, ended := range ends {
			if d := ended(); d > 2*largeTime {
				t.Errorf("message %d was held for %v", i, d)
			}
		}
		// A message that has arrived makes room.
		c, client := l.in("192.0.2.1")
		c.Prove("bank", "pod")
		go func() { _, _ = client.Write(make([]byte, 3*small)) }()
		if _, err := io.ReadFull(c, make([]byte, 3*small)); err != nil {
			t.Fatal(err)
		}
		c.Message()
		time.Sleep(2 * largeTime)
		go func() { _, _ = client.Write([]byte("x")) }()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("after its message: %v", err)
		}
	})
}

// request is one of a source, handled by h; the returned channel receives its status.
func request(h http.Handler, from string, body io.Reader) chan int {
	done := make(chan int, 1)
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.RemoteAddr = net.JoinHostPort(from, "1000")
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		done <- w.Code
	}()
	return done
}

// TestAFloodOfOneSourceDelaysNoOther: sources take turns, however many requests of one wait.
func TestAFloodOfOneSourceDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &Turns{Count: 1, Waiting: 50, WaitingAll: 100, Patience: time.Hour}
		h := turns.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }))
		begin := time.Now()
		var flood []chan int
		for range 60 {
			flood = append(flood, request(h, "192.0.2.66", nil))
			synctest.Wait()
		}
		if code := <-request(h, "192.0.2.1", nil); code != http.StatusOK || time.Since(begin) > 3*time.Second {
			t.Errorf("another source was answered %d after %v", code, time.Since(begin))
		}
		refused := 0
		for _, done := range flood {
			if <-done == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused != 60-51 {
			t.Errorf("%d requests of the flood were refused, want those beyond 51", refused)
		}
	})
}

func TestWhoWaitsTooLongIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &Turns{Count: 1, Waiting: 5, WaitingAll: 5, Patience: time.Second}
		h := turns.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }))
		first := request(h, "192.0.2.1", nil)
		synctest.Wait()
		if code := <-request(h, "192.0.2.2", nil); code != http.StatusTooManyRequests {
			t.Errorf("answered %d", code)
		}
		if code := <-first; code != http.StatusOK {
			t.Errorf("the first one: %d", code)
		}
		if code := <-request(h, "192.0.2.2", nil); code != http.StatusOK {
			t.Errorf("afterwards: %d", code)
		}
	})
}

// endless is a body that goes on until its context ends.
type endless struct{ ctx context.Context }

func (e endless) Read(b []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, e.ctx.Err()
	}
	return len(b), nil
}

// TestBodiesAreBounded: by size, by what decoding them would take, and by what others hold.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	const most = 100 << 10
	bodies := &Bodies{Most: most, All: 400 << 10, PerSource: 300 << 10, Own: 40 << 10}
	held, arrived := make(chan struct{}), make(chan struct{}, 100)
	h := bodies.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if bytes.HasPrefix(b, []byte("hold")) {
			arrived <- struct{}{}
			<-held
		}
	}), func(string) int { return 10 })
	for name, c := range map[string]struct {
		body io.Reader
		code int
	}{
		"nothing":                    {http.NoBody, http.StatusOK},
		"as much as possible":        {strings.NewReader(strings.Repeat(" ", most)), http.StatusOK},
		"declared too large":         {strings.NewReader(strings.Repeat(" ", most+1)), http.StatusRequestEntityTooLarge},
		"too large, undeclared":      {endless{t.Context()}, http.StatusRequestEntityTooLarge},
		"ten objects":                {strings.NewReader("[" + strings.Repeat("{},", 10) + `"{{{{{\"{{{null"]`), http.StatusOK},
		"eleven objects":             {strings.NewReader("[" + strings.Repeat("{},", 11) + "1]"), http.StatusRequestEntityTooLarge},
		"eleven nulls":               {strings.NewReader("[" + strings.Repeat("null,", 11) + "1]"), http.StatusRequestEntityTooLarge},
		"a string that does not end": {strings.NewReader(`["{{{{{{{{{{{{{{\`), http.StatusOK},
	} {
		if code := <-request(h, "192.0.2.9", c.body); code != c.code {
			t.Errorf("%s: %d, want %d", name, code, c.code)
		}
	}
	// Two of a source hold what it may have; others have theirs.
	large := "hold" + strings.Repeat(" ", 90<<10)
	var flood []chan int
	for range 2 {
		flood = append(flood, request(h, "192.0.2.66", strings.NewReader(large)))
		<-arrived
	}
	if code := <-request(h, "192.0.2.66", strings.NewReader(large)); code != http.StatusTooManyRequests {
		t.Errorf("a third large one of a source: %d", code)
	}
	for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
		if code := <-request(h, from, strings.NewReader("{}")); code != http.StatusOK {
			t.Errorf("a small one of another source: %d", code)
		}
	}
	close(held)
	for _, done := range flood {
		if code := <-done; code != http.StatusOK {
			t.Errorf("one that was held: %d", code)
		}
	}
	if bodies.held != 0 || len(bodies.bySource) != 0 {
		t.Errorf("%d bytes are held at the end", bodies.held)
	}
}

// TestManySourcesAreForgotten: what is remembered of sources is bounded.
func TestManySourcesAreForgotten(t *testing.T) {
	t.Parallel()
	l := New(nil, Limits{Rate: 1000, Burst: 1})
	var wg sync.WaitGroup
	for a := range 3 {
		wg.Go(func() {
			for b := range 200 {
				for c := range 50 {
					from := SourceOf(&net.TCPAddr{IP: net.IPv4(10, byte(a), byte(b), byte(c))})
					if l.enter(from, true) {
						l.leave(from)
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	if n := len(l.sources); n > 10_000 {
		t.Errorf("%d sources are remembered", n)
	}
}

// TestKnownClientsMakeRoomForOthersOfTheirAddress: hundreds of proxies behind one address come back at once. Who was refused comes again a
// moment later, as proxies do.
func TestKnownClientsMakeRoomForOthersOfTheirAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{Unproven: 1024, PerSource: 16, PerKnownSource: 256, Rate: 20, Burst: 128})
		const count = 600
		const handshake, pause = 20 * time.Millisecond, 500 * time.Millisecond
		begin := time.Now()
		for in := 0; in < count; time.Sleep(pause) {
			var now []*Conn
			for range count - in {
				if c, _ := l.in("192.0.2.1"); c != nil {
					now = append(now, c)
				}
			}
			time.Sleep(handshake)
			for _, c := range now {
				in++
				c.Prove("bank", fmt.Sprint(in))
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Fatalf("%d of %d proxies are in after %v", in, count, took)
			}
		}
	})
}

// TestOneCredentialMakesLittleRoom: a client that comes again and again, with streams that are good, has its source pay for it; and what
// strangers behind the address of known clients may have is bounded.
func TestOneCredentialMakesLittleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{PerSource: 2, PerKnownSource: 5, Rate: 1, Burst: 4})
		got := 0
		for range 100 {
			c, _ := l.in("192.0.2.1")
			if c == nil {
				break
			}
			got++
			c.Prove("bank", "pod")()
			_ = c.Close()
		}
		if want := 4 + 1; got != want {
			t.Errorf("a client had %d connections at once, want the burst and one more", got)
		}
		time.Sleep(time.Minute)
		for i := range 10 {
			time.Sleep(time.Second)
			if c, _ := l.in("192.0.2.1"); c != nil {
				c.Prove("bank", fmt.Sprint(i))
			}
		}
		time.Sleep(time.Minute)
		strangers := 0
		for range 10 {
			time.Sleep(time.Second)
			if c, _ := l.in("192.0.2.1"); c != nil {
				strangers++
			}
		}
		if strangers != 5 {
			t.Errorf("%d strangers are in behind the address of known clients, want 5", strangers)
		}
	})
}

// TestClientsAreForgotten when they have left for long.
func TestClientsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Limits{PerSource: 1, PerKnownSource: 2})
		two := func() bool {
			t.Helper()
			first, _ := l.in("192.0.2.1")
			second, _ := l.in("192.0.2.1")
			for _, c := range []*Conn{first, second} {
				if c != nil {
					_ = c.Close()
				}
			}
			return second != nil
		}
		known, _ := l.in("192.0.2.1")
		release := known.Prove("bank", "pod")
		time.Sleep(time.Hour)
		if !two() {
			t.Error("a connected client makes no room")
		}
		release()
		_ = known.Close()
		time.Sleep(time.Minute)
		if !two() {
			t.Error("a client that was there a minute ago makes no room")
		}
		time.Sleep(time.Hour)
		if two() {
			t.Error("a client that left long ago makes room")
		}
	})
}

func TestRatesAreEachSourcesOwn(t *testing.T) {
	r := &Rates{PerSecond: 1, Burst: 2}
	now := time.Unix(0, 0)
	flood, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	count := func(from netip.Addr) (n int) {
		for range 10 {
			if r.Allow(from, now) {
				n++
			}
		}
		return n
	}
	if a, b := count(flood), count(other); a != 2 || b != 2 {
		t.Errorf("%d and %d are allowed, want 2 of each", a, b)
	}
	// Forged addresses take neither memory nor the rate of those that are known.
	at := netip.MustParseAddr("10.0.0.0")
	for range 20_000 {
		at = at.Next()
		r.Allow(at, now)
	}
	if n := len(r.limiters); n > 5000 {
		t.Errorf("%d sources are remembered", n)
	}
	now = now.Add(time.Second)
	if n := count(flood); n != 1 {
		t.Errorf("%d are allowed a second later, want one", n)
	}
}

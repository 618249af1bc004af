package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// crowd runs many hostile clients until the context ends, and waits for them. do is called again and again with the number of the client.
func crowd(ctx context.Context, count int, do func(ctx context.Context, i int)) {
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			for ctx.Err() == nil {
				do(ctx, i)
				time.Sleep(breath)
			}
		})
	}
	wg.Wait()
}

// breath keeps clients that are refused at once from using up the machine.
const breath = 5 * time.Millisecond

// sources are the addresses that the attacker has; a tenant may have many pods.
const sources = 8

// from is the address of hostile client i.
func from(i int) string { return fmt.Sprintf("127.0.0.%d", 66+i%sources) }

func dialer(source string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: time.Second}
}

// secure opens a TLS connection that speaks a protocol, nil if the server does not want it.
func secure(ctx context.Context, source, address, protocol string) net.Conn {
	raw, err := dialer(source).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}) //nolint:gosec // attackers do not care
	handshake, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := c.HandshakeContext(handshake); err != nil {
		_ = raw.Close()
		return nil
	}
	return c
}

// until closes a connection when the context ends.
func until(ctx context.Context, c io.Closer) (stop func()) {
	end := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() { end(); _ = c.Close() }
}

// h2 frames that no library would send.
const (
	headersFrame, settingsFrame, continuationFrame = 1, 4, 9
	preface                                        = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameSize                                      = 16 << 10
)

func h2frame(kind, flags byte, stream uint32, payload []byte) []byte {
	const header = 9
	f := make([]byte, header, header+len(payload))
	binary.BigEndian.PutUint32(f, uint32(len(payload))<<8)
	f[3], f[4] = kind, flags
	binary.BigEndian.PutUint32(f[5:], stream)
	return append(f, payload...)
}

// endlessHeaders sends a header block that never ends, at most as many bytes as given, and returns how many were taken.
func endlessHeaders(c net.Conn, most int) (sent int) {
	// A literal header without indexing with a name of one byte and a value of 16 000.
	field := append([]byte{0, 1, 'x', 0x7f}, binary.AppendUvarint(nil, frameSize-1000-127)...)
	field = append(field, bytes.Repeat([]byte{'a'}, frameSize-1000)...)
	if _, err := io.WriteString(c, preface+string(h2frame(settingsFrame, 0, 0, nil))); err != nil {
		return 0
	}
	for kind := byte(headersFrame); sent < most; kind = continuationFrame {
		n, err := c.Write(h2frame(kind, 0, 1, field))
		sent += n
		if err != nil {
			return sent
		}
	}
	return sent
}

// stalling lets a number of bytes through and then nothing more.
type stalling struct {
	net.Conn
	left atomic.Int64
	ctx  context.Context
}

func (s *stalling) Write(b []byte) (int, error) {
	if s.left.Add(-int64(len(b))) < 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	return s.Conn.Write(b)
}

// stalls makes a client stop in the middle of what it sends.
func stalls(ctx context.Context, i int, after int64) grpc.DialOption {
	return grpc.WithContextDialer(func(dial context.Context, address string) (net.Conn, error) {
		c, err := dialer(from(i)).DialContext(dial, "tcp", address)
		if err != nil {
			return nil, err
		}
		s := &stalling{Conn: c, ctx: ctx}
		s.left.Store(after)
		return s, nil
	})
}

// post sends a request to an address with TLS and returns the status, 0 if there was no answer.
func post(ctx context.Context, client *http.Client, url string, body io.Reader, size int64) (int, string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = size
	resp, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	const enough = 4 << 10
	text, _ := io.ReadAll(io.LimitReader(resp.Body, enough))
	return resp.StatusCode, string(text)
}

// browser is a hostile client of HTTP.
func browser(source string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: dialer(source).DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // attackers do not care
		ForceAttemptHTTP2: true,
	}}
}

package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
)

// Bodies reads the bodies of requests into memory within bounds, and refuses what would take too much to decode. The zero value is not
// usable. Every source has a little room of its own, so that nobody can take all of it.
type Bodies struct {
	// Most bounds one body, All the sum of those that are held, PerSource that of one source, Own what a source always has.
	Most, All, PerSource, Own int64

	mu       sync.Mutex
	held     int64
	bySource map[netip.Addr]int64
}

// errNoMemory is for a body for which there is no room now.
var errNoMemory = errors.New("too many large requests are being read")

// Wrap returns a handler that calls h with the whole body read. A larger one than Most is answered 413, by its declared size alone where
// that is given; one of more than weight objects, see Weight, is answered 413 too.
func (b *Bodies) Wrap(h http.Handler, weight func(path string) int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > b.Most {
			tooLarge(w, fmt.Sprintf("the request has %d bytes, at most %d are possible", r.ContentLength, b.Most))
			return
		}
		from := RequestSource(r)
		body, err := b.read(from, r.Body)
		defer b.free(from, int64(cap(body)))
		var many *http.MaxBytesError
		switch {
		case errors.As(err, &many):
			tooLarge(w, fmt.Sprintf("the request has more than %d bytes", b.Most))
			return
		case errors.Is(err, errNoMemory):
			http.Error(w, err.Error(), http.StatusTooManyRequests)
			return
		case err != nil:
			http.Error(w, "the request cannot be read", http.StatusBadRequest)
			return
		}
		if most := weight(r.URL.Path); Weight(body) > most {
			tooLarge(w, fmt.Sprintf("the object is too large: it consists of more than %d objects", most))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r.WithContext(WithSource(r.Context(), from)))
	})
}

func tooLarge(w http.ResponseWriter, why string) {
	http.Error(w, "too large: "+why, http.StatusRequestEntityTooLarge)
}

// read returns the body; what it has reserved is its capacity, also when there is an error.
func (b *Bodies) read(from netip.Addr, body io.Reader) ([]byte, error) {
	const first = 32 << 10
	var out []byte
	for size := int64(first); ; size = min(2*size, b.Most+1) {
		if !b.reserve(from, size) {
			return out, errNoMemory
		}
		more := make([]byte, len(out), size)
		copy(more, out)
		before := int64(cap(out))
		out = more
		b.free(from, before)
		for len(out) < cap(out) {
			n, err := body.Read(out[len(out):cap(out)])
			out = out[:len(out)+n]
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			if err != nil {
				return out, err
			}
		}
		if int64(len(out)) > b.Most {
			return out, &http.MaxBytesError{Limit: b.Most}
		}
	}
}

func (b *Bodies) reserve(from netip.Addr, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.bySource[from] + n
	if own > b.Own && (own > b.PerSource || b.held+n > b.All) {
		return false
	}
	if b.bySource == nil {
		b.bySource = map[netip.Addr]int64{}
	}
	b.bySource[from] = own
	b.held += n
	return true
}

func (b *Bodies) free(from netip.Addr, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.bySource[from] -= n; b.bySource[from] == 0 {
		delete(b.bySource, from)
	}
}

// Weight counts what costs most when JSON is decoded into Go values: objects and nulls, each of which may become a large struct of an
// array. Three bytes of text can become a kilobyte.
func Weight(json []byte) (n int) {
	for i := 0; i < len(json); i++ {
		switch json[i] {
		case '{', 'n': // outside of strings n begins null only
			n++
		case '"':
			for i++; i < len(json) && json[i] != '"'; i++ {
				if json[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

type sourceKey struct{}

// WithSource remembers the source of a request.
func WithSource(ctx context.Context, from netip.Addr) context.Context {
	return context.WithValue(ctx, sourceKey{}, from)
}

// Source returns the remembered source; the zero address if there is none.
func Source(ctx context.Context) netip.Addr {
	from, _ := ctx.Value(sourceKey{}).(netip.Addr)
	return from
}

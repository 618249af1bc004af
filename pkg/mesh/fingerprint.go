package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// Hash is a fingerprint: equal hashes mean equal content, also where somebody looks for two contents that have one. It is a whole
// SHA-256, because what is remembered under a hash is served to others. It is comparable and serves as a map key.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns the first half of the digits, for names that must differ when the content does: finding two contents with the same half
// takes 2^64 attempts, and finding another one for a given content 2^128.
func (h Hash) Short() string { return hex.EncodeToString(h[:len(h)/2]) }

// Fingerprint returns the hash of the whole of v: every field at any depth, through pointers and slices, except fields tagged
// `hash:"-"`. A pointer to a value with a Fingerprint field that is already set counts by that fingerprint, so that shared
// values are hashed once. Maps, channels and functions have no place in the model and panic, as a programming error.
func Fingerprint(v any) Hash {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.buf = e.buf[:0]
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	e.value(rv)
	return hashBytes(e.buf)
}

// Combine returns the hash of a sequence of hashes and strings, in order.
func Combine(parts ...any) Hash {
	buf := make([]byte, 0, 32*len(parts))
	for _, p := range parts {
		switch p := p.(type) {
		case Hash:
			buf = append(buf, p[:]...)
		case string:
			buf = binary.AppendUvarint(buf, uint64(len(p)))
			buf = append(buf, p...)
		default:
			buf = append(buf, fmt.Sprintf("%T%v", p, p)...)
		}
	}
	return hashBytes(buf)
}

// Join returns the hash of a sequence of hashes, in order.
func Join(hashes []Hash) Hash {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.buf = e.buf[:0]
	for i := range hashes {
		e.buf = append(e.buf, hashes[i][:]...)
	}
	return hashBytes(e.buf)
}

func hashBytes(b []byte) Hash { return sha256.Sum256(b) }

type encoder struct{ buf []byte }

// encoders are used again: a pass makes thousands of fingerprints.
var encoders = sync.Pool{New: func() any { return &encoder{buf: make([]byte, 0, 512)} }}

var (
	timeType = reflect.TypeFor[time.Time]()
	hashType = reflect.TypeFor[Hash]()

	backendsType = reflect.TypeFor[*[]Backend]()
	chainsType   = reflect.TypeFor[*[]Chain]()
)

func (e *encoder) uint(u uint64) { e.buf = binary.AppendUvarint(e.buf, u) }

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) bool(b bool) {
	if b {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		e.bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.buf = binary.AppendVarint(e.buf, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.uint(v.Uint())
	case reflect.Slice, reflect.Array:
		if v.CanAddr() && e.list(v.Addr()) {
			return
		}
		e.uint(uint64(v.Len()))
		for i := range v.Len() {
			e.value(v.Index(i))
		}
	case reflect.Pointer:
		e.pointer(v)
	case reflect.Struct:
		e.structure(v)
	default:
		panic("mesh: cannot fingerprint a " + v.Kind().String())
	}
}

// list writes the two lists that most of a large mesh consists of, as the general way would. It is false for all others.
func (e *encoder) list(list reflect.Value) bool {
	switch list.Type() {
	case backendsType:
		list := *list.Interface().(*[]Backend)
		e.uint(uint64(len(list)))
		for i := range list {
			e.service(list[i].Service)
		}
	case chainsType:
		list := *list.Interface().(*[]Chain)
		e.uint(uint64(len(list)))
		for i := range list {
			c := &list[i]
			e.text(c.Name)
			for _, texts := range [][]string{c.Addresses, c.ServerNames} {
				e.uint(uint64(len(texts)))
				for _, t := range texts {
					e.text(t)
				}
			}
			e.bool(c.Inspected)
			e.buf = binary.AppendVarint(e.buf, int64(c.Opening))
		}
	default:
		return false
	}
	return true
}

func (e *encoder) service(s *Service) {
	if s == nil || s.Fingerprint == (Hash{}) {
		e.pointer(reflect.ValueOf(s))
		return
	}
	e.buf = append(e.buf, 1)
	e.buf = append(e.buf, s.Fingerprint[:]...)
}

func (e *encoder) pointer(v reflect.Value) {
	if v.IsNil() {
		e.buf = append(e.buf, 0)
		return
	}
	e.buf = append(e.buf, 1)
	elem := v.Elem()
	if elem.Kind() == reflect.Struct {
		if i := planOf(elem.Type()).fingerprint; i >= 0 {
			if f := elem.Field(i); !f.IsZero() {
				e.buf = append(e.buf, f.Bytes()...)
				return
			}
		}
	}
	e.value(elem)
}

func (e *encoder) structure(v reflect.Value) {
	if v.Type() == timeType {
		e.buf = binary.AppendVarint(e.buf, v.Interface().(time.Time).UnixNano())
		return
	}
	for _, i := range planOf(v.Type()).fields {
		e.value(v.Field(i))
	}
}

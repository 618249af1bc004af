package translate

import (
	"sync"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// memo remembers values by the hash of the input they were made from. It holds what was used since the last but one call of
// turn, so that it never grows beyond two passes. What a remembered value was put together from counts as used with it.
type memo[V any] struct {
	mu   sync.Mutex
	rows map[mesh.Hash]*row[V]
	pass uint64
}

// row is a remembered value.
type row[V any] struct {
	value V
	used
}

// used is the last pass that used a row, and the rows that its value was put together from.
type used struct {
	pass  uint64
	parts []*used
}

// touch notes that a row is used in a pass, and its parts.
func (u *used) touch(pass uint64) {
	if u.pass == pass {
		return
	}
	u.pass = pass
	for _, p := range u.parts {
		p.touch(pass)
	}
}

// get returns the row of the value made from the input with hash k, calling build if neither this pass nor the last one has it. build
// returns the value with the rows that it took.
func (m *memo[V]) get(k mesh.Hash, build func() (V, []*used, error)) (V, *used, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[k]
	if !ok {
		v, parts, err := build()
		if err != nil {
			return v, nil, err
		}
		r = &row[V]{v, used{m.pass, parts}}
		if m.rows == nil {
			m.rows = map[mesh.Hash]*row[V]{}
		}
		m.rows[k] = r
	}
	r.touch(m.pass)
	return r.value, &r.used, nil
}

// turn ends a pass: values not used during it are forgotten at the end of the next one.
func (m *memo[V]) turn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, r := range m.rows {
		if r.pass+1 < m.pass {
			delete(m.rows, k)
		}
	}
	m.pass++
}

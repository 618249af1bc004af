package translate

import (
	"sync"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// memo remembers values by the hash of the input they were made from. It holds what was used since the last but one call of
// turn, so that it never grows beyond two passes.
type memo[V any] struct {
	mu        sync.Mutex
	cur, prev map[mesh.Hash]V
}

// get returns the value made from the input with hash k, calling build if neither this pass nor the last one has it.
func (m *memo[V]) get(k mesh.Hash, build func() (V, error)) (V, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.cur[k]; ok {
		return v, nil
	}
	v, ok := m.prev[k]
	if !ok {
		var err error
		if v, err = build(); err != nil {
			return v, err
		}
	}
	if m.cur == nil {
		m.cur = map[mesh.Hash]V{}
	}
	m.cur[k] = v
	return v, nil
}

// turn ends a pass: values not used during it are forgotten at the end of the next one.
func (m *memo[V]) turn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prev, m.cur = m.cur, nil
}

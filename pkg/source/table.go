package source

import (
	"reflect"
	"sync"
)

// table holds the converted objects of one kind. List returns the same slice until a row really changed.
type table[V any] struct {
	mu   sync.Mutex
	rows map[string]V
	list []V
}

// set stores a row and reports whether that changed anything.
func (t *table[V]) set(key string, v V) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.rows[key]; ok && reflect.DeepEqual(old, v) {
		return false
	}
	if t.rows == nil {
		t.rows = map[string]V{}
	}
	t.rows[key] = v
	t.list = nil
	return true
}

// remove deletes a row and reports whether it was there.
func (t *table[V]) remove(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.rows[key]; !ok {
		return false
	}
	delete(t.rows, key)
	t.list = nil
	return true
}

// get returns one row.
func (t *table[V]) get(key string) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.rows[key]
	return v, ok
}

// all returns every row in no particular order. The slice is shared and must not be modified.
func (t *table[V]) all() []V {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.list == nil {
		t.list = make([]V, 0, len(t.rows))
		for _, v := range t.rows {
			t.list = append(t.list, v)
		}
	}
	return t.list
}

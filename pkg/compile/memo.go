package compile

import (
	"cmp"
	"slices"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// memo remembers what was made of a value that is never modified, so that its pointer stands for it. It keeps what the last pass used.
type memo[K comparable, V any] struct {
	rows map[K]*memoRow[V]
	pass uint64
	used int
}

// memoRow is a value with the last pass that used it.
type memoRow[V any] struct {
	value V
	pass  uint64
}

// get returns what make returns for the key, or has returned.
func (m *memo[K, V]) get(k K, make func(K) V) V {
	row := m.rows[k]
	if row == nil {
		row = &memoRow[V]{value: make(k), pass: m.pass - 1}
		if m.rows == nil {
			m.rows = map[K]*memoRow[V]{}
		}
		m.rows[k] = row
	}
	if row.pass != m.pass {
		row.pass = m.pass
		m.used++
	}
	return row.value
}

// turn ends a pass.
func (m *memo[K, V]) turn() {
	if m.used < len(m.rows) {
		for k, row := range m.rows {
			if row.pass != m.pass {
				delete(m.rows, k)
			}
		}
	}
	m.pass++
	m.used = 0
}

// aged remembers the order of objects by age, which does not change while the objects do not.
type aged[T interface {
	comparable
	meshv1beta2.Object
}] struct{ given, sorted []T }

// of returns the list from the oldest to the youngest object, then by namespace and name: the order in which they win conflicts.
func (a *aged[T]) of(list []T) []T {
	if slices.Equal(a.given, list) {
		return a.sorted
	}
	type entry struct {
		created         time.Time
		namespace, name string
		object          T
	}
	entries := make([]entry, len(list))
	for i, o := range list {
		entries[i] = entry{o.GetCreationTimestamp().Time, o.GetNamespace(), o.GetName(), o}
	}
	slices.SortFunc(entries, func(x, y entry) int {
		return cmp.Or(x.created.Compare(y.created), cmp.Compare(x.namespace, y.namespace), cmp.Compare(x.name, y.name))
	})
	a.given, a.sorted = slices.Clone(list), make([]T, len(list))
	for i := range entries {
		a.sorted[i] = entries[i].object
	}
	return a.sorted
}

// sortByAge puts the objects in the order of their age.
func (b *builder) sortByAge() {
	in, aged := *b.in, &b.compiler.aged
	in.Meshes = aged.meshes.of(in.Meshes)
	in.VirtualNodes = aged.nodes.of(in.VirtualNodes)
	in.VirtualServices = aged.services.of(in.VirtualServices)
	in.VirtualRouters = aged.routers.of(in.VirtualRouters)
	in.Routes = aged.routes.of(in.Routes)
	in.VirtualGateways = aged.gateways.of(in.VirtualGateways)
	in.GatewayRoutes = aged.entering.of(in.GatewayRoutes)
	in.BackendGroups = aged.groups.of(in.BackendGroups)
	b.in = &in
}

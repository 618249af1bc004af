package compile

import (
	"cmp"
	"slices"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"

	"github.com/aftermesh/aftermesh/pkg/input"
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

// of returns the objects from the oldest to the youngest, then by namespace and name: the order in which they win conflicts.
func (a *aged[T]) of(in *input.Objects) []T {
	list := input.Of[T](in)
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
	a.given, a.sorted = list, make([]T, len(list))
	for i := range entries {
		a.sorted[i] = entries[i].object
	}
	return a.sorted
}

// objectsByAge are the objects of each kind, the oldest first.
type objectsByAge struct {
	Meshes          []*meshv1beta2.Mesh
	VirtualNodes    []*meshv1beta2.VirtualNode
	VirtualServices []*meshv1beta2.VirtualService
	VirtualRouters  []*meshv1beta2.VirtualRouter
	Routes          []*meshv1beta2.Route
	VirtualGateways []*meshv1beta2.VirtualGateway
	GatewayRoutes   []*meshv1beta2.GatewayRoute
	BackendGroups   []*meshv1beta2.BackendGroup
}

// agedObjects are those of the last pass.
type agedObjects struct {
	meshes   aged[*meshv1beta2.Mesh]
	nodes    aged[*meshv1beta2.VirtualNode]
	services aged[*meshv1beta2.VirtualService]
	routers  aged[*meshv1beta2.VirtualRouter]
	routes   aged[*meshv1beta2.Route]
	gateways aged[*meshv1beta2.VirtualGateway]
	entering aged[*meshv1beta2.GatewayRoute]
	groups   aged[*meshv1beta2.BackendGroup]
}

func (a *agedObjects) of(in *input.Objects) objectsByAge {
	return objectsByAge{
		Meshes: a.meshes.of(in), VirtualNodes: a.nodes.of(in), VirtualServices: a.services.of(in), VirtualRouters: a.routers.of(in),
		Routes: a.routes.of(in), VirtualGateways: a.gateways.of(in), GatewayRoutes: a.entering.of(in), BackendGroups: a.groups.of(in),
	}
}

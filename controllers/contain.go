package controllers

import (
	"fmt"
	"runtime/debug"

	"github.com/go-logr/logr"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// containment keeps a panic at the place where it happens: it is a fault of ours at one object, which must not end the operator, nor
// what it does for other objects.
type containment struct {
	log   logr.Logger
	where string // label of the metric
}

// run is false when do panicked. about says of what, as keys and values of the log.
func (c containment) run(do func(), about ...any) (ok bool) {
	defer func() {
		if reason := recover(); reason != nil {
			c.tell(reason, debug.Stack(), about...)
			ok = false
		}
	}()
	do()
	return true
}

// object is run for one object.
func (c containment) object(o mesh.Object, do func()) (ok bool) {
	return c.run(do, about(o)...)
}

func (c containment) tell(reason any, stack []byte, about ...any) {
	panics.WithLabelValues(c.where).Inc()
	c.log.Error(fmt.Errorf("panic: %v", reason), "Recovered; the rest goes on", append(about, "stack", string(stack))...)
}

func about(o mesh.Object) []any {
	return []any{"kind", o.Kind, "namespace", o.Namespace, "name", o.Name}
}

package mesh

import (
	"reflect"
	"sync"
)

// plan says how a struct type is hashed.
type plan struct {
	// fields are the indexes of the exported fields that take part.
	fields []int
	// fingerprint is the index of a field Fingerprint of type Hash, -1 if there is none.
	fingerprint int
}

var plans sync.Map // reflect.Type to *plan

// planOf returns the plan of a struct type, made at first use.
func planOf(t reflect.Type) *plan {
	if c, ok := plans.Load(t); ok {
		return c.(*plan)
	}
	p := &plan{fingerprint: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "Fingerprint" && f.Type == hashType {
			p.fingerprint = i
		}
		if f.IsExported() && f.Tag.Get("hash") != "-" {
			p.fields = append(p.fields, i)
		}
	}
	plans.Store(t, p)
	return p
}

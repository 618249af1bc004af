package mesh

import (
	"reflect"
	"sync"
)

var fieldCache sync.Map // reflect.Type to []int

// hashedFields returns the indexes of the exported fields of t that take part in fingerprints.
func hashedFields(t reflect.Type) []int {
	if c, ok := fieldCache.Load(t); ok {
		return c.([]int)
	}
	var idx []int
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() && f.Tag.Get("hash") != "-" {
			idx = append(idx, i)
		}
	}
	fieldCache.Store(t, idx)
	return idx
}

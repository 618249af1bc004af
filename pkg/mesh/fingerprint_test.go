package mesh

import (
	"reflect"
	"testing"
)

// fill gives every field at any depth a value, another one for another seed.
func fill(v reflect.Value, seed int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("text" + string(rune('a'+seed)))
	case reflect.Bool:
		v.SetBool(seed%2 == 0)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(seed + 1))
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(uint64(seed + 1))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), seed)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Type() != reflect.TypeFor[*Destination]() {
			fill(v.Elem(), seed)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), seed)
			}
		}
	}
}

// TestListsAreHashedAsAnyOther compares the written-out encoding of some lists with the one by reflection, which is
// taken for values without an address, field by field.
func TestListsAreHashedAsAnyOther(t *testing.T) {
	t.Parallel()
	type lists struct {
		Backends []Backend
		Chains   []Chain
	}
	check := func(l *lists) Hash {
		t.Helper()
		quick, general := Fingerprint(l), new(encoder)
		for _, v := range []any{l.Backends, l.Chains} {
			general.value(reflect.ValueOf(v))
		}
		if quick != hashBytes(general.buf) {
			t.Errorf("the two encodings of %+v differ", l)
		}
		return quick
	}
	var l lists
	seen := map[Hash]bool{check(&l): true}
	l = lists{Backends: make([]Backend, 2), Chains: make([]Chain, 2)}
	seen[check(&l)] = true
	for _, v := range []reflect.Value{reflect.ValueOf(&l.Backends[1]).Elem(), reflect.ValueOf(&l.Chains[0]).Elem()} {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Tag.Get("hash") == "-" {
				continue
			}
			fill(v.Field(i), 2)
			h := check(&l)
			if seen[h] {
				t.Errorf("%s.%s does not count", v.Type(), f.Name)
			}
			seen[h] = true
		}
	}
	for seed := range 3 {
		l.Backends[0].Service = new(Service)
		fill(reflect.ValueOf(l.Backends[0].Service).Elem(), seed)
		check(&l)
		l.Backends[0].Service.Fingerprint = Hash{}
		check(&l)
	}
}

package controllers

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

func TestOnlyZonesThatAreCertainlyUnknownAreUnresolvable(t *testing.T) {
	hosts := []mesh.Name{
		{Name: "a.known.local", Zone: "known.local", Addresses: []string{"240.0.0.1"}},
		{Name: "b.lost.local", Zone: "lost.local", Addresses: []string{"240.0.0.2"}},
		{Name: "c.silent.local", Zone: "silent.local", Addresses: []string{"240.0.0.3"}},
		{Name: "d.empty.local", Zone: "empty.local"},
	}
	answers := map[string]error{
		"a.known.local.":  nil,
		"b.lost.local.":   &net.DNSError{IsNotFound: true},
		"c.silent.local.": &net.DNSError{IsTimeout: true},
	}
	lookup := func(_ context.Context, name string) error {
		err, ok := answers[name]
		if !ok {
			t.Errorf("asked for %s", name)
			return errors.New("unexpected")
		}
		return err
	}
	for _, c := range []struct{ before, want []string }{
		{nil, []string{"lost.local"}},
		{[]string{"known.local", "silent.local"}, []string{"lost.local", "silent.local"}},
	} {
		if got := unresolvable(t.Context(), hosts, c.before, lookup); !slices.Equal(got, c.want) {
			t.Errorf("before %v: %v, want %v", c.before, got, c.want)
		}
	}
}

package cli

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestTheHeapStaysBelowTheLimitOfTheContainer is not parallel: the limit is the process's.
func TestTheHeapStaysBelowTheLimitOfTheContainer(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, c := range []struct {
		name string
		env  map[string]string
		want int64
	}{
		{"no limit", nil, math.MaxInt64},
		{"not a number", map[string]string{"MEMORY_LIMIT": "1Gi"}, math.MaxInt64},
		{"a gibibyte", map[string]string{"MEMORY_LIMIT": "1000000000"}, 800_000_000},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		if got := limitMemory(func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	debug.SetMemoryLimit(5 << 30)
	if got := limitMemory(func(k string) string { return map[string]string{"GOMEMLIMIT": "5GiB", "MEMORY_LIMIT": "1000000000"}[k] }); got != 5<<30 {
		t.Errorf("GOMEMLIMIT does not count: %d", got)
	}
}

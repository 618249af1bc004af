package attack

import (
	"testing"

	"github.com/aftermesh/aftermesh/test/fleet"
)

// TestTheCageIsReal: what takes more memory than the cage allows is killed, so that an operator that lives has stayed within it.
func TestTheCageIsReal(t *testing.T) {
	const limit = 32 << 20
	c, err := fleet.NewCage(limit)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	// dd keeps one block in memory.
	if out, err := c.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=8M", "count=1").CombinedOutput(); err != nil {
		t.Errorf("8 MB do not fit: %v\n%s", err, out)
	}
	if out, err := c.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1").CombinedOutput(); err == nil {
		t.Errorf("128 MB fit into %d bytes: %s", limit, out)
	}
	if n, err := c.Killed(); err != nil || n != 1 {
		t.Errorf("%d processes were killed, want 1 (%v)", n, err)
	}
}

// TestNothing measures the honest mesh without an attack, for comparison, and that the bars can be held at all.
func TestNothing(t *testing.T) {
	w := start(t)
	w.under(t, "")
}

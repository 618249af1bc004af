package pipeline

import (
	"testing"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
)

// TestAPanicInAPassCostsNothingThatIsServed: the snapshot before stays, nothing is published, and the next pass is as good as the first.
func TestAPanicInAPassCostsNothingThatIsServed(t *testing.T) {
	t.Parallel()
	p := New(nil, time.Now)
	broken := &input.Objects{Config: []input.Object{(*meshv1beta2.VirtualNode)(nil)}}
	if s, err := p.Try(broken); err == nil || s != nil {
		t.Fatalf("%v, %v: a nil object does not panic any more; find another way to break a pass", s, err)
	}
	good, err := p.Try(&input.Objects{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.Try(broken); err == nil || s != good || p.Last() != good {
		t.Errorf("after a panic %v is served (%v)", s, err)
	}
	if next, err := p.Try(&input.Objects{}); err != nil || next.Seq != good.Seq+1 {
		t.Errorf("no pass after a panic: %v, %v", next, err)
	}
}

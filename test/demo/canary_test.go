package main

import (
	"testing"
	"time"
)

// A share must be judged by the tolerance its count of requests was chosen for: otherwise chance fails a run.
func TestStepJudgesByItsTolerance(t *testing.T) {
	for _, c := range []struct {
		tolerance float64
		requests  int
	}{{tolerance, 6945}, {quickTolerance, 1737}} {
		s := step{"router-50-50.yaml", 0.5, c.tolerance}
		n := s.needed()
		if n != c.requests {
			t.Errorf("needed() with tolerance %v = %d, want %d", c.tolerance, n, c.requests)
		}
		inside, outside := int(float64(n)*(0.5+0.9*c.tolerance)), int(float64(n)*(0.5+1.1*c.tolerance))
		if err := s.judge(inside, n, time.Millisecond); err != nil {
			t.Errorf("within tolerance %v: %v", c.tolerance, err)
		}
		if err := s.judge(outside, n, time.Millisecond); err == nil {
			t.Errorf("outside of tolerance %v: no error", c.tolerance)
		}
		if err := s.judge(inside, n, 2*settled); err == nil {
			t.Error("programmed too late: no error")
		}
	}
}

package cluster

import (
	"fmt"
	"io"
	"time"
)

// Progress prints numbered steps with the seconds since the start.
type Progress struct {
	// Out receives the lines; io.Discard silences them.
	Out   io.Writer
	start time.Time
	step  int
}

// NewProgress starts the clock.
func NewProgress(out io.Writer) *Progress { return &Progress{Out: out, start: time.Now()} }

// Step announces the next step.
func (p *Progress) Step(format string, args ...any) {
	p.step++
	fmt.Fprintf(p.Out, "[%6.1fs] %2d. %s\n", p.Elapsed().Seconds(), p.step, fmt.Sprintf(format, args...))
}

// Note adds a line to the current step.
func (p *Progress) Note(format string, args ...any) {
	fmt.Fprintf(p.Out, "[%6.1fs]     %s\n", p.Elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// Elapsed is the time since the start.
func (p *Progress) Elapsed() time.Duration { return time.Since(p.start) }

// during runs work and notes every ten seconds that it still goes on; state may add a word, "" for none.
func (p *Progress) during(what string, state func() string, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	begin := time.Now()
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			p.Note("still %s, %.0f s so far%s", what, time.Since(begin).Seconds(), state())
		}
	}
}

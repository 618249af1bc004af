package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// lockFile serialises Up and Down of all working copies.
const lockFile = runDir + ".lock"

// lock waits, at most a quarter of an hour, until no other Up or Down runs.
func lock(ctx context.Context, p *Progress) (unlock func(), err error) {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	told := false
	err = poll(ctx, 15*time.Minute, func() error {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil && !told {
			told = true
			p.Note("waiting for another up or down on this machine")
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("another up or down holds %s: %w", lockFile, err)
	}
	return func() { _ = f.Close() }, nil
}

// owner returns the working copy that started the machine's cluster, "" for none.
func owner() string {
	data, _ := os.ReadFile(ownerFile())
	return strings.TrimSpace(string(data))
}

// errForeign says that the machine's cluster belongs to another working copy.
var errForeign = errors.New("another working copy's cluster runs on this machine")

// mine fails if a cluster of another working copy has living processes.
func (l Layout) mine() error {
	other := owner()
	if other == "" || other == l.Root {
		return nil
	}
	for _, p := range recorded(pidDir()) {
		if p.alive() {
			return fmt.Errorf("%w: %s (run down there, or down --force here)", errForeign, other)
		}
	}
	return nil
}

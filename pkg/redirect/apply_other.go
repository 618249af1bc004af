//go:build !linux

package redirect

import "errors"

var errNotLinux = errors.New("redirection needs Linux")

// Apply fails: redirection exists on Linux only. The package still builds elsewhere so that the injector can describe rules.
func Apply(c Config) (Summary, error) { return Summary{Config: c}, errNotLinux }

// ApplyIn fails like Apply.
func ApplyIn(_ int, c Config) (Summary, error) { return Summary{Config: c}, errNotLinux }

// Present fails like Apply.
func Present(int) (bool, error) { return false, errNotLinux }

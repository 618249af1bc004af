//go:build !linux

package redirect

import "errors"

// Apply fails: redirection exists on Linux only. The package still builds elsewhere so that the injector can describe rules.
func Apply(c Config) (Summary, error) {
	return Summary{Config: c}, errors.New("redirection needs Linux")
}

// Package promises holds docs/security.md to its word: every promise of its tables names a test, and every test that it names exists.
package promises

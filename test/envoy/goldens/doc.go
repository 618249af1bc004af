// Package goldens gives every configuration of the golden tests to real Envoys for validation: what we think right must be
// what Envoy takes, in the oldest and the newest version supported.
package goldens

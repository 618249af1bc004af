// Package standalone runs the verb of that name with a real Envoy: a folder of manifests is served, edits arrive, and a file that
// cannot be read takes nothing down.
package standalone

// Package crds compares the CRDs of config/crd/bases with reference CRDs, structurally: every object that a reference schema
// accepts must be accepted by ours, under the same names and with the same columns, so that manifests, scripts and watches
// written for the reference go on working.
//
// The rule is widening. Wherever the reference declares a property, ours declares it with the same type; an enumeration
// holds at least the reference's values; a bound is not narrower; nothing more is required. Additional properties,
// values and columns of priority 1 are fine.
//
// The reference's folder is given by the environment variable CRDS; without it the comparison is skipped, and says so.
// The package has tests only.
package crds

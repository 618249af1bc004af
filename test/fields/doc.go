// Package fields counts which fields of the API a golden file would notice if they were ignored. For every leaf field below spec it
// takes the golden files whose input contains it, takes the field away or gives it another value, and sees whether any section of the file
// that is expected would come out differently.
// From the same comparison, and from the CRDs, it writes the reference of every kind.
//
//	go run ./test/fields/cmd/fields
package fields

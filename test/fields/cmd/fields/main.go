// Command fields prints which golden file would notice if a field of the API were ignored, and counts:
//
//	fields [--golden DIR] [-o table|json]
//
// Exit code 1 means that some field has no case.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/aftermesh/aftermesh/test/fields"
)

func main() {
	dir := flag.String("golden", "pkg/pipeline/testdata", "folder of the golden files")
	format := flag.String("o", "table", "output: table or json")
	flag.Parse()
	list, err := fields.Count(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fields:", err)
		os.Exit(2)
	}
	covered, without := 0, 0
	for _, f := range list {
		switch {
		case f.Case != "":
			covered++
		case f.Without != "":
			without++
		}
	}
	if err := show(list, *format); err != nil {
		fmt.Fprintln(os.Stderr, "fields:", err)
		os.Exit(2)
	}
	fmt.Fprintf(os.Stderr, "%d of %d leaf fields have a case, %d have no effect\n", covered, len(list), without)
	if covered+without < len(list) {
		os.Exit(1)
	}
}

func show(list []fields.Field, format string) error {
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(list)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "FIELD\tCASE")
	for _, f := range list {
		name := f.Case
		switch {
		case name != "":
		case f.Without != "":
			name = "no effect: " + f.Without
		default:
			name = "NONE"
		}
		fmt.Fprintf(t, "%s\t%s\n", f.Path, name)
	}
	return t.Flush()
}

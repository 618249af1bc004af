// Command fields prints which golden file would notice if a field of the API were ignored, and counts:
//
//	fields [--golden DIR] [--crds DIR] [-o table|json] [--docs DIR]
//
// With --docs it writes the reference of the kinds and the table of compatibility into a folder instead.
// Exit code 1 means that some field has no case.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/aftermesh/aftermesh/test/fields"
)

func main() {
	dir := flag.String("golden", "pkg/pipeline/testdata", "folder of the golden files")
	schemas := flag.String("crds", "config/crd/bases", "folder of the CRDs")
	format := flag.String("o", "table", "output: table or json")
	docs := flag.String("docs", "", "folder to write the documentation to")
	flag.Parse()
	crds, err := fields.ReadSchemas(*schemas)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fields:", err)
		os.Exit(2)
	}
	list, err := fields.Count(*dir, crds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fields:", err)
		os.Exit(2)
	}
	if *docs != "" {
		if err := write(*docs, fields.Pages(list, crds)); err != nil {
			fmt.Fprintln(os.Stderr, "fields:", err)
			os.Exit(2)
		}
		return
	}
	covered, without := 0, 0
	for _, f := range list {
		switch {
		case f.Case != "":
			covered++
		case f.Without():
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

func write(dir string, pages map[string][]byte) error {
	for name, page := range pages {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, page, 0o644); err != nil {
			return err
		}
	}
	return nil
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
		case f.Without():
			name = "no effect: " + f.Rule.About
		default:
			name = "NONE"
		}
		fmt.Fprintf(t, "%s\t%s\n", f.Path, name)
	}
	return t.Flush()
}

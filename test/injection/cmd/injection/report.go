package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/aftermesh/aftermesh/test/injection"
)

// failure is a case that came out differently from what was wanted.
type failure struct {
	Case        string   `json:"case"`
	Flags       []string `json:"flags,omitempty"`
	Differences []string `json:"differences"`
}

// report writes what came of the cases.
func report(out io.Writer, results []injection.Result, format string) error {
	summary := injection.Summarize(results)
	failures := []failure{}
	for _, r := range results {
		if len(r.Differences) > 0 {
			failures = append(failures, failure{r.Case.Name(), r.Case.Flags, r.Differences})
		}
	}
	if format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			injection.Summary
			Cases    int       `json:"cases"`
			Failures []failure `json:"failures"`
		}{summary, len(results), failures})
	}
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "\nABOUT\tCASES\t")
	for _, l := range summary.Lines() {
		verdict := "ok"
		if l.Failed > 0 {
			verdict = fmt.Sprintf("%d failed", l.Failed)
		} else if l.Cases == 0 {
			verdict = "not tried"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", l.Key, l.Cases, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range failures {
		fmt.Fprintf(out, "\nFAILED: %s\n  %s\n", f.Case, strings.Join(f.Differences, "\n  "))
		if len(f.Flags) > 0 {
			fmt.Fprintf(out, "  with %s\n", strings.Join(f.Flags, " "))
		}
	}
	fmt.Fprintf(out, "\n%s\n", summary)
	return nil
}

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// outputFlag adds -o with the given formats; the first is the default.
func outputFlag(c *cobra.Command, to *string, formats ...string) {
	c.Flags().StringVarP(to, "output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return formats, cobra.ShellCompDirectiveNoFileComp
	}
	if err := c.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // a programming error: the flag was added above
	}
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(formats, *to) {
			return usageError{fmt.Errorf("-o takes %s, not %q", strings.Join(formats, ", "), *to)}
		}
		if before != nil {
			return before(c, args)
		}
		return nil
	}
}

// print writes v as JSON or YAML.
func print(w io.Writer, format string, v any) error {
	js, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if format == "yaml" {
		if js, err = yaml.JSONToYAML(js); err != nil {
			return err
		}
		_, err = w.Write(js)
		return err
	}
	_, err = fmt.Fprintln(w, string(js))
	return err
}

// table writes rows under a header in aligned columns.
func table(w io.Writer, header []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// count is a number with its noun, "1 error" or "2 errors".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

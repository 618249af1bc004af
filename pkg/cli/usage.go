package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/spell"
)

// unknownVerb returns a usage error if the arguments name a verb that does not exist, at any depth. cobra itself prints the help of
// the verb above and reports success.
func unknownVerb(root *cobra.Command, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return nil // how a shell asks for completions
	}
	verb, rest, err := root.Find(args)
	if err == nil && verb.Name() == "help" {
		verb, rest, _ = root.Find(rest) // an error leaves the rest, which is judged below
	}
	if verb == nil || !verb.HasAvailableSubCommands() {
		return nil
	}
	for _, a := range rest {
		if !strings.HasPrefix(a, "-") {
			return usageError{fmt.Errorf("%s has no command %q%s", verb.CommandPath(), a, verbsOf(verb, a))}
		}
	}
	return nil
}

// verbsOf names the verb that was probably meant, and all that there are.
func verbsOf(c *cobra.Command, wrong string) string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			names = append(names, sub.Name())
		}
	}
	slices.Sort(names)
	out := "; it has: " + strings.Join(names, ", ")
	if near := spell.Nearest(wrong, names); near != "" {
		out = fmt.Sprintf("; did you mean %s?%s", near, strings.Replace(out, ";", "", 1))
	}
	return out
}

// conversion is how the standard library begins the cause of a flag's error.
var conversion = regexp.MustCompile(`(strconv\.\w+: parsing|time:) `)

// flagError words an error about a flag for people who do not read Go.
func flagError(_ *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%s", conversion.ReplaceAllString(err.Error(), ""))}
}

// given refuses flags that are given with an empty value, as a script does whose variable is not set.
func given(c *cobra.Command, names ...string) error {
	for _, name := range names {
		f := c.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if v := f.Value.String(); v == "" || v == "[]" {
			return usageError{fmt.Errorf("--%s is empty: give it a value or leave it out", name)}
		}
	}
	return nil
}

package injection

import (
	"fmt"
	"slices"
)

// Group is the cases that run under the same flags.
type Group struct {
	Flags []string
	Cases []Case
}

// Groups puts the cases together by their flags, those without flags first. Otherwise the order stays.
func Groups(cases []Case) []Group {
	groups := []Group{{}}
	for _, c := range cases {
		i := slices.IndexFunc(groups, func(g Group) bool { return slices.Equal(g.Flags, c.Flags) })
		if i < 0 {
			i, groups = len(groups), append(groups, Group{Flags: c.Flags})
		}
		groups[i].Cases = append(groups[i].Cases, c)
	}
	return groups
}

// Result is what came of a case; no differences are a success.
type Result struct {
	Case        Case
	Differences []string
}

// Line sums up the cases about one key.
type Line struct {
	Key    string `json:"key"`
	Cases  int    `json:"cases"`
	Failed int    `json:"failed"`
}

// Good says that there are cases and all of them succeeded.
func (l Line) Good() bool { return l.Cases > 0 && l.Failed == 0 }

// Summary sums up results by what they are about.
type Summary struct {
	Keys  []Line `json:"annotationsAndLabels"`
	Flags []Line `json:"flags"`
	Parts []Line `json:"parts"`
}

// Summarize counts results for every key of the three lists.
func Summarize(results []Result) Summary {
	lines := map[string]*Line{}
	for _, r := range results {
		l := lines[r.Case.Key]
		if l == nil {
			l = &Line{Key: r.Case.Key}
			lines[r.Case.Key] = l
		}
		l.Cases++
		if len(r.Differences) > 0 {
			l.Failed++
		}
	}
	of := func(keys []string) (out []Line) {
		for _, key := range keys {
			l := Line{Key: key}
			if lines[key] != nil {
				l = *lines[key]
			}
			out = append(out, l)
		}
		return out
	}
	return Summary{Keys: of(Keys), Flags: of(Flags), Parts: of(Parts)}
}

// Good says that every key has cases and all of them succeeded.
func (s Summary) Good() bool {
	return !slices.ContainsFunc(s.Lines(), func(l Line) bool { return !l.Good() })
}

// Lines are those of all keys.
func (s Summary) Lines() []Line { return slices.Concat(s.Keys, s.Flags, s.Parts) }

// String is one line with the totals.
func (s Summary) String() string {
	good := func(lines []Line) (n int) {
		for _, l := range lines {
			if l.Good() {
				n++
			}
		}
		return n
	}
	cases, failed := 0, 0
	for _, l := range s.Lines() {
		cases, failed = cases+l.Cases, failed+l.Failed
	}
	text := fmt.Sprintf("%d of %d annotations and labels, %d of %d flags, %d of %d other parts, %d cases",
		good(s.Keys), len(s.Keys), good(s.Flags), len(s.Flags), good(s.Parts), len(s.Parts), cases)
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text
}

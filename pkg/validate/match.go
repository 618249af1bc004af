package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// pathRules are the ids and words of the rules about prefix and path; VirtualRouters and GatewayRoutes say them differently.
type pathRules struct {
	missing, missingWords string
	both, bothWords       string
	path                  string
}

// prefixOrPath judges the match on the request's path. other says that something else may replace prefix and path.
func (j *judge) prefixOrPath(match *field.Path, r pathRules, prefix *string, path *meshv1beta2.PathMatch, other bool) {
	switch {
	case prefix == nil && path == nil && !other:
		j.add(r.missing, match, "none", "%s; prefix: / matches every request", r.missingWords)
	case prefix != nil && path != nil:
		j.add(r.both, match, []any{*prefix, *path.DeepCopy()}, "%s; prefix is %q, remove it or path", r.bothWords, *prefix)
	}
	if prefix != nil && !strings.HasPrefix(*prefix, "/") {
		j.add("X10", match.Child("prefix"), *prefix, "prefix %q does not start with \"/\", so no request matches it; begin it with a slash", *prefix)
	}
	if path == nil {
		return
	}
	switch {
	case path.Exact == nil && path.Regex == nil:
		j.add(r.path, match.Child("path"), "none", "Either exact or regex for path must be specified; add one of them")
	case path.Exact != nil && path.Regex != nil:
		j.add(r.path, match.Child("path"), *path.DeepCopy(), "Both exact and regex for path are not allowed. Only one must be specified; remove %q or %q", *path.Exact, *path.Regex)
	}
	j.regex(match.Child("path", "regex"), path.Regex)
}

// valueMatches judges the tests of headers, or of metadata. what is the word for them in messages, rule the id.
func (j *judge) valueMatches(list *field.Path, rule, what string, matches []meshv1beta2.HeaderMatch) {
	for i := range matches {
		m, path := &matches[i], list.Index(i)
		if strings.TrimSpace(m.Name) == "" {
			j.add("X21", path.Child("name"), m.Name, "the name %q is blank and the matcher is ignored; name the %s", m.Name, what)
		}
		if m.Match != nil {
			j.valueMatch(path, rule, what, m)
		}
	}
}

func (j *judge) valueMatch(path *field.Path, rule, what string, m *meshv1beta2.HeaderMatch) {
	v, at := m.Match, path.Child("match")
	names := given([]member{{"exact", v.Exact != nil}, {"prefix", v.Prefix != nil}, {"suffix", v.Suffix != nil},
		{"regex", v.Regex != nil}, {"range", v.Range != nil}})
	switch {
	case len(names) == 0:
		j.add(rule, at, m.Name, "No Match Filter specified for %s %q; add exact, prefix, suffix, regex or range, or remove match to test only for presence", what, m.Name)
	case len(names) > 1:
		j.add(rule, at, *m.DeepCopy(), "Too many Match Filters specified, only 1 allowed per %s; %q has %s, keep one of them", what, m.Name, and(names))
	}
	if r := v.Range; r != nil && r.Start >= r.End {
		j.add(rule, at.Child("range"), *r, "the range from %d up to, but without, %d holds no value; start must be less than end", r.Start, r.End)
	}
	j.regex(at.Child("regex"), v.Regex)
}

// queryParameters judges the tests of the query string.
func (j *judge) queryParameters(list *field.Path, parameters []meshv1beta2.QueryParameterMatch) {
	for i := range parameters {
		if p := &parameters[i]; p.Match != nil && p.Match.Exact == nil {
			j.add("T8", list.Index(i).Child("match"), p.Name,
				"Missing Match criteria for one or more exact query match block; give %q an exact value, or remove match to test only for presence", p.Name)
		}
	}
}

// regex judges a regular expression; absent is fine.
func (j *judge) regex(path *field.Path, expression *string) {
	if expression == nil {
		return
	}
	if err := Regex(*expression); err != nil {
		j.add("X18", path, *expression, "%q is not a regular expression that Envoy can use: %v; the route is left out until it is corrected", *expression, err)
	}
}

package explain

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// mismatch returns the first criterion of m that the request fails, "" when all hold.
func mismatch(m *routev3.RouteMatch, r *Request) (string, error) {
	if m.RuntimeFraction != nil || m.TlsContext != nil || len(m.DynamicMetadata) > 0 {
		return "", fmt.Errorf("a route matches by runtime, TLS context or metadata, which cannot be judged")
	}
	if why, err := pathMismatch(m, r); why != "" || err != nil {
		return why, err
	}
	for _, h := range m.Headers {
		if why, err := headerMismatch(h, r); why != "" || err != nil {
			return why, err
		}
	}
	for _, q := range m.QueryParameters {
		if why, err := queryMismatch(q, r); why != "" || err != nil {
			return why, err
		}
	}
	if m.Grpc != nil && !isGRPC(r) {
		return "the request is not gRPC", nil
	}
	return "", nil
}

func isGRPC(r *Request) bool {
	t, _ := r.header("content-type")
	return t == "application/grpc" || strings.HasPrefix(t, "application/grpc+")
}

// pathMismatch compares the path without its query, as Envoy does for every kind of path.
func pathMismatch(m *routev3.RouteMatch, r *Request) (string, error) {
	if r.Method == "CONNECT" {
		return "a CONNECT has no path", nil
	}
	path, _, _ := strings.Cut(r.Path, "?")
	path, _, _ = strings.Cut(path, "#")
	fold := func(s string) string { return s }
	if m.CaseSensitive != nil && !m.CaseSensitive.Value {
		fold = strings.ToLower
	}
	switch p := m.PathSpecifier.(type) {
	case *routev3.RouteMatch_Prefix:
		if !strings.HasPrefix(fold(path), fold(p.Prefix)) {
			return fmt.Sprintf("the path %q does not begin with %q", path, p.Prefix), nil
		}
	case *routev3.RouteMatch_Path:
		if fold(path) != fold(p.Path) {
			return fmt.Sprintf("the path %q is not %q", path, p.Path), nil
		}
	case *routev3.RouteMatch_SafeRegex:
		ok, err := fullMatch(p.SafeRegex.GetRegex(), path)
		if err != nil || ok {
			return "", err
		}
		return fmt.Sprintf("the path %q does not match the expression %q", path, p.SafeRegex.GetRegex()), nil
	default:
		return "", fmt.Errorf("a route matches paths by %T, which cannot be judged", p)
	}
	return "", nil
}

// headerMismatch judges a header. One that is missing fails every comparison of values, an inverted one too.
func headerMismatch(h *routev3.HeaderMatcher, r *Request) (string, error) {
	value, found := r.header(h.Name)
	not := ""
	if h.InvertMatch {
		not = "not "
	}
	if p, ok := h.HeaderMatchSpecifier.(*routev3.HeaderMatcher_PresentMatch); ok {
		if (found == p.PresentMatch) == h.InvertMatch {
			return fmt.Sprintf("the header %q is %s", h.Name, presence(found)), nil
		}
		return "", nil
	}
	if !found && !h.TreatMissingHeaderAsEmpty {
		return fmt.Sprintf("the header %q is missing", h.Name), nil
	}
	var ok bool
	var want string
	switch s := h.HeaderMatchSpecifier.(type) {
	case *routev3.HeaderMatcher_StringMatch:
		var err error
		if ok, want, err = matches(s.StringMatch, value); err != nil {
			return "", err
		}
	case *routev3.HeaderMatcher_RangeMatch:
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		ok = err == nil && n >= s.RangeMatch.Start && n < s.RangeMatch.End
		want = fmt.Sprintf("be a whole number from %d to below %d", s.RangeMatch.Start, s.RangeMatch.End)
	default:
		return "", fmt.Errorf("a route matches the header %q by %T, which cannot be judged", h.Name, s)
	}
	if ok == h.InvertMatch {
		return fmt.Sprintf("the header %q is %q and should %s%s", h.Name, value, not, want), nil
	}
	return "", nil
}

func presence(found bool) string {
	if found {
		return "present"
	}
	return "missing"
}

// queryMismatch judges the first value of a parameter, which Envoy compares without decoding it.
func queryMismatch(q *routev3.QueryParameterMatcher, r *Request) (string, error) {
	value, found := r.query(q.Name)
	switch s := q.QueryParameterMatchSpecifier.(type) {
	case *routev3.QueryParameterMatcher_PresentMatch:
		if found != s.PresentMatch {
			return fmt.Sprintf("the query parameter %q is %s", q.Name, presence(found)), nil
		}
	case *routev3.QueryParameterMatcher_StringMatch:
		if !found {
			return fmt.Sprintf("the query parameter %q is missing", q.Name), nil
		}
		ok, want, err := matches(s.StringMatch, value)
		if err != nil {
			return "", err
		}
		if !ok {
			return fmt.Sprintf("the query parameter %q is %q and should %s", q.Name, value, want), nil
		}
	default:
		if !found {
			return fmt.Sprintf("the query parameter %q is missing", q.Name), nil
		}
	}
	return "", nil
}

// matches compares a value and says in words what was wanted.
func matches(m *matcherv3.StringMatcher, v string) (ok bool, want string, err error) {
	fold := func(s string) string { return s }
	if m.IgnoreCase {
		fold = strings.ToLower
	}
	switch p := m.MatchPattern.(type) {
	case *matcherv3.StringMatcher_Exact:
		return fold(v) == fold(p.Exact), fmt.Sprintf("be %q", p.Exact), nil
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(fold(v), fold(p.Prefix)), fmt.Sprintf("begin with %q", p.Prefix), nil
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(fold(v), fold(p.Suffix)), fmt.Sprintf("end in %q", p.Suffix), nil
	case *matcherv3.StringMatcher_Contains:
		return strings.Contains(fold(v), fold(p.Contains)), fmt.Sprintf("contain %q", p.Contains), nil
	case *matcherv3.StringMatcher_SafeRegex:
		ok, err = fullMatch(p.SafeRegex.GetRegex(), v)
		return ok, fmt.Sprintf("match the expression %q", p.SafeRegex.GetRegex()), err
	default:
		return false, "", fmt.Errorf("a value is compared by %T, which cannot be judged", p)
	}
}

// fullMatch is RE2's full match. Go's syntax is RE2's but for \C, which is an error here.
func fullMatch(expression, v string) (bool, error) {
	re, err := regexp.Compile(`\A(?:` + expression + `)\z`)
	if err != nil {
		return false, fmt.Errorf("read the expression %q: %w", expression, err)
	}
	return re.MatchString(v), nil
}

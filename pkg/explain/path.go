package explain

import (
	"fmt"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// normalizePath writes the path as routes will see it: dot segments resolved, slashes merged, unreserved characters decoded. Encoded
// slashes stay as they are.
func normalizePath(m *hcmv3.HttpConnectionManager, r *Request) (status uint32, why string) {
	if r.Method == "CONNECT" {
		return 0, ""
	}
	if strings.Contains(r.Path, "#") {
		return 400, fmt.Sprintf("the path %q has a fragment", r.Path)
	}
	if !strings.HasPrefix(r.Path, "/") {
		return 404, fmt.Sprintf("the path %q does not begin with a slash", r.Path)
	}
	path, query, has := strings.Cut(r.Path, "?")
	if m.GetNormalizePath().GetValue() {
		var ok bool
		if path, ok = canonical(path); !ok {
			return 400, fmt.Sprintf("the path %q cannot be normalized", r.Path)
		}
	}
	if m.MergeSlashes && strings.Contains(path, "//") {
		merged := "/" + strings.Join(strings.FieldsFunc(path, func(c rune) bool { return c == '/' }), "/")
		if strings.HasSuffix(path, "/") {
			merged += "/" // also to a path of slashes only, which stays two
		}
		path = merged
	}
	if r.Path = path; has {
		r.Path += "?" + query
	}
	return 0, ""
}

// canonical is the path of a URL as browsers write it, which is what Envoy's library does.
func canonical(path string) (string, bool) {
	var out []byte
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '\\':
			c = '/'
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			decoded := unhex(path[i+1])<<4 | unhex(path[i+2])
			if decoded == 0 {
				return "", false
			}
			if !unreserved(decoded) {
				out = append(out, path[i:i+3]...)
				i += 2
				continue
			}
			c = decoded
			i += 2
		case mustEscape(c):
			out = append(out, fmt.Sprintf("%%%02X", c)...)
			continue
		}
		out = append(out, c)
	}
	return resolveDots(string(out)), true
}

// resolveDots takes "." and ".." out of a path whose dots are written as such. Empty segments count as segments.
func resolveDots(path string) string {
	parts := strings.Split(path[1:], "/")
	var kept []string
	for i, p := range parts {
		last := i == len(parts)-1
		switch p {
		case ".":
			if last {
				kept = append(kept, "")
			}
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, p)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func mustEscape(c byte) bool { return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>^`{|}", c) >= 0 }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

package mesh

import "time"

// Routes say what HTTP requests meet. Proxies get them apart from the listener, so that their change ends no connection.
type Routes struct {
	// Hosts are matched by the most specific domain; a request of another host gets a 404. Those of users, which have an Object, come
	// first, but where two claim one name or domain, those of the front-end itself have it.
	Hosts []*Host
	// IgnorePort compares hosts without the port that a request may name.
	IgnorePort bool
	// Request changes every request.
	Request     HeaderEdit
	Fingerprint Hash `hash:"-"`
}

// Seal sets the fingerprint, of which those of the hosts are a part, and returns the routes.
func (r *Routes) Seal() *Routes {
	own := noEdit
	if r.IgnorePort || len(r.Request.Set) > 0 || len(r.Request.Remove) > 0 {
		own = Fingerprint(&struct {
			IgnorePort bool
			Request    HeaderEdit
		}{r.IgnorePort, r.Request})
	}
	parts := make([]Hash, 1, 1+len(r.Hosts))
	parts[0] = own
	for _, h := range r.Hosts {
		parts = append(parts, h.Fingerprint)
	}
	r.Fingerprint = Join(parts)
	return r
}

// noEdit stands for routes that change no request by themselves.
var noEdit = Combine("no edit")

// Host holds all routes that a request of one of its domains can take, in the order in which they are tried: Envoy never goes on to a
// less specific host. Callers of one service share it by pointer.
type Host struct {
	Name string
	// Object brought the host; without one it is the front-end's own.
	Object Object
	// Domains are exact names, "*suffix" or "*".
	Domains []string
	Routes  []*Route
	// Retry is for routes that have no policy of their own; nil for none.
	Retry *Retry
	// Fingerprint covers the host with its routes and the names of their clusters.
	Fingerprint Hash `hash:"-"`
}

// Route sends the requests that Match describes to Targets, or answers them by itself.
type Route struct {
	Name     string
	Object   Object
	Priority int
	Match    Match
	Targets  []Target
	// Respond answers in place of the targets.
	Respond *Respond
	// Rewrite and Request change what the targets get.
	Rewrite *Rewrite
	Request HeaderEdit
	Timeout Timeout
	// Retry is nil for TCP, and where the host's policy holds; a route of a service always has one, App Mesh's default when the user
	// gave none.
	Retry *Retry
}

// Respond is an answer of the proxy itself.
type Respond struct{ Status uint32 }

// Rewrite changes the host and path of a request; what is empty stays. At most one of Prefix and Path is set.
type Rewrite struct {
	Host string
	// Prefix replaces the prefix that was matched, or the whole path where that was; Path replaces all of the path but the query.
	Prefix, Path string
}

// HeaderEdit changes the headers of a request: first those to remove, then those to set, whatever they were.
type HeaderEdit struct {
	Set    []Header
	Remove []string
}

// Header is a header with the value that it gets.
type Header struct{ Name, Value string }

// Target is one share of a route. A target that did not resolve has no Destination; its share answers 503.
type Target struct {
	// Cluster is the name of the Envoy cluster, defined or not.
	Cluster string
	Weight  uint32
	// Destination is nil when the target did not resolve. It is not part of the route's fingerprint: the name is.
	Destination *Destination `hash:"-"`
}

// PathKind says how Match.Path is compared.
type PathKind int

// The ways to compare a path.
const (
	PathPrefix PathKind = iota
	PathExact
	PathRegex
)

// Match describes requests; all given criteria must hold. The zero value with PathPrefix "/" matches every request.
type Match struct {
	PathKind PathKind
	Path     string
	Headers  []ValueMatch
	Queries  []ValueMatch
}

// MatchKind says how a header or query parameter is compared.
type MatchKind int

// The ways to compare a value.
const (
	Present MatchKind = iota
	Exact
	Prefix
	Suffix
	Regex
	Range
)

// ValueMatch compares one header, metadata key or query parameter.
type ValueMatch struct {
	Name  string
	Kind  MatchKind
	Value string
	// Start and End bound an integer, half open: Start <= value < End.
	Start, End int64
	Invert     bool
}

// Retry is a retry policy in Envoy's terms, which are the only ones that cover App Mesh's events exactly.
type Retry struct {
	// On lists Envoy's retry_on tokens in their canonical order; empty means that nothing is retried.
	On          []string
	StatusCodes []uint32
	Max         uint32
	// PerTry bounds each attempt including the first; nil means no bound.
	PerTry *time.Duration
	// SameEndpoint lets an attempt go where an earlier one went, which is all there is in a pod.
	SameEndpoint bool
}

package explain

// Answer is what a request meets, hop by hop. A sidecar has one hop, a gateway two.
type Answer struct {
	// Proxy is the id of the group whose resources were read.
	Proxy string `json:"proxy"`
	Hops  []*Hop `json:"hops"`
}

// Last returns the hop at which the request leaves the proxy or ends.
func (a *Answer) Last() *Hop { return a.Hops[len(a.Hops)-1] }

// Hop is one passage through a listener. Empty members mean that the request did not get that far; Outcome says why.
type Hop struct {
	Listener string `json:"listener"`
	// Chain is the filter chain's name; DefaultChain is true when no chain matched.
	Chain        string `json:"chain,omitempty"`
	DefaultChain bool   `json:"defaultChain,omitempty"`
	// RouteConfiguration is empty where the chain passes connections on without reading requests.
	RouteConfiguration string `json:"routeConfiguration,omitempty"`
	VirtualHost        string `json:"virtualHost,omitempty"`
	// Domain of the virtual host that matched.
	Domain string `json:"domain,omitempty"`
	Route  string `json:"route,omitempty"`
	// Cause is the object that the route or virtual host comes from.
	Cause string `json:"cause,omitempty"`
	// Missed are the routes before it, in order, each with the first criterion that failed.
	Missed []Miss `json:"missed,omitempty"`
	// Status is the answer that the proxy gives itself; 0 when it forwards.
	Status uint32 `json:"status,omitempty"`
	// GRPCStatus is how a caller that speaks gRPC gets it: in a header of an answer with status 200.
	GRPCStatus uint32 `json:"grpcStatus,omitempty"`
	// Timeout and IdleTimeout are durations as Envoy reads them; empty means that the route says nothing.
	Timeout     string `json:"timeout,omitempty"`
	IdleTimeout string `json:"idleTimeout,omitempty"`
	Retry       *Retry `json:"retry,omitempty"`
	// Host and Path are what the next hop sees.
	Host   string  `json:"host,omitempty"`
	Path   string  `json:"path,omitempty"`
	Shares []Share `json:"shares,omitempty"`
	// Outcome is one sentence on how the hop ended.
	Outcome string `json:"outcome"`
}

// Miss is a route that did not match, and why.
type Miss struct {
	Route string `json:"route"`
	Why   string `json:"why"`
}

// Retry is a route's retry policy in Envoy's words.
type Retry struct {
	On            string   `json:"on"`
	StatusCodes   []uint32 `json:"statusCodes,omitempty"`
	Max           uint32   `json:"max"`
	PerTryTimeout string   `json:"perTryTimeout,omitempty"`
}

// Share is one cluster of a hop with its part of the requests.
type Share struct {
	Cluster string `json:"cluster"`
	// Percent of the requests, 0 to 100.
	Percent float64 `json:"percent"`
	// Defined is false for a cluster that does not exist: its share answers 503.
	Defined bool   `json:"defined"`
	Cause   string `json:"cause,omitempty"`
	// Discovery is Envoy's type of the cluster; TLS is true when connections to it are encrypted.
	Discovery string `json:"discovery,omitempty"`
	TLS       bool   `json:"tls,omitempty"`
	// Endpoints are addresses with ports; for a cluster found by DNS, the host that is resolved. Those that an encrypting cluster reaches in
	// clear text say so.
	Endpoints []string `json:"endpoints,omitempty"`
}

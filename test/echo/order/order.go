// Package order holds the messages of the control port of the stand-in application: what to do, and what came of it.
package order

// HTTP orders requests.
type HTTP struct {
	URL         string            `json:"url"`
	Method      string            `json:"method"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"`
	Count       int               `json:"count"`
	Concurrency int               `json:"concurrency"`
	// Protocol is h2c for HTTP/2 in clear text, or grpc for unary calls on one connection, with a URL host:port/package.Service/Method
	// and 200 for OK; anything else is HTTP/1.1.
	Protocol string `json:"protocol"`
	// Trust is the PEM of the authorities that servers are checked against; https without it fails.
	Trust string `json:"trust,omitempty"`
}

// HTTPResult groups equal answers.
type HTTPResult struct {
	Groups []Group `json:"groups"`
}

// Group is a number of answers with the same status, chain and error; the rest is of one of them.
type Group struct {
	Count  int    `json:"count"`
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
	// Chain lists the identities of the applications on the way, by comma; Seen is protocol, host and path at the last one.
	Chain string `json:"chain"`
	Seen  string `json:"seen"`
	// Pod is the host name of the last application.
	Pod     string            `json:"pod"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
	// Seconds is the time of the quickest answer of the group, Slowest of the slowest.
	Seconds float64 `json:"seconds"`
	Slowest float64 `json:"slowest"`
}

// GRPC orders one unary call.
type GRPC struct {
	Target   string            `json:"target"`
	Service  string            `json:"service"`
	Method   string            `json:"method"`
	Metadata map[string]string `json:"metadata"`
	Body     string            `json:"body"`
}

// GRPCResult is what came of a call.
type GRPCResult struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Chain   string `json:"chain"`
	Answer  string `json:"answer"`
	// Metadata is the first value of each key of the response's metadata.
	Metadata map[string]string `json:"metadata"`
}

// TCP orders one connection on which a line is sent and one is read.
type TCP struct {
	Target string `json:"target"`
}

// TCPResult is what came of a connection.
type TCPResult struct {
	Connected bool   `json:"connected"`
	Answer    string `json:"answer"`
	Error     string `json:"error,omitempty"`
}

// Make sets the status of all further answers, 0 for the usual ones, and restarts the count of requests.
type Make struct {
	Status int `json:"status"`
}

// Seen counts requests since the last Make.
type Seen struct {
	Requests int `json:"requests"`
	// Paths counts them by path, of gRPC calls the full method; calls for the health of a server count here only.
	Paths map[string]int `json:"paths"`
}

// Load orders a load. With Concurrency lanes, all lanes send at the same moments, and a lane that waits for an answer sends
// late; without, each request is sent at its moment whatever became of the ones before.
type Load struct {
	HTTP
	LoadName
	// Rate is requests per second of all lanes together; 0 stands for 100.
	Rate float64 `json:"rate"`
	// Seconds is how long the load lasts; 0 means until it is stopped.
	Seconds float64 `json:"seconds"`
}

// LoadName tells apart the loads that one instance sends at the same time; the usual one has no name.
type LoadName struct {
	Name string `json:"name,omitempty"`
}

// LoadState is what came of a load so far.
type LoadState struct {
	// Running is true until the load is over and every answer is there.
	Running bool `json:"running"`
	// Total counts since the start, Marked since the last mark (or the start).
	Total  Counts `json:"total"`
	Marked Counts `json:"marked"`
	// PerSecond are the seconds since the start, the last ten minutes at most.
	PerSecond []Second `json:"perSecond"`
	// Error says why a load could not be started.
	Error string `json:"error,omitempty"`
}

// Counts are answers by what they were. A request without an answer counts under its error only.
type Counts struct {
	Requests   int            `json:"requests"`
	Statuses   map[string]int `json:"statuses"`
	Identities map[string]int `json:"identities"`
	Pods       map[string]int `json:"pods"`
	Errors     map[string]int `json:"errors"`
}

// Second counts the answers that came in one second; Failed are those without a status below 400.
type Second struct {
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
}

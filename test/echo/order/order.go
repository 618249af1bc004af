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
	Chain   string            `json:"chain"`
	Seen    string            `json:"seen"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
	Seconds float64           `json:"seconds"`
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
}

package compile

import (
	"slices"
	"time"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// retryOrder is the order in which App Mesh wrote Envoy's retry_on tokens.
var retryOrder = []string{
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	"reset", "connect-failure", "refused-stream", "retriable-status-codes",
}

// defaultRetry is App Mesh's policy for routes without one: two more attempts after 503, UNAVAILABLE, connect failure, refused
// stream and reset. Source: App Mesh user guide, default route retry policy.
func defaultRetry() *mesh.Retry {
	return &mesh.Retry{
		On:          []string{"unavailable", "reset", "connect-failure", "refused-stream", "retriable-status-codes"},
		StatusCodes: []uint32{503},
		Max:         2,
	}
}

// httpEvents maps App Mesh's events to Envoy's tokens and status codes. Source: App Mesh API reference, HttpRetryPolicy.
var httpEvents = map[meshv1beta2.HTTPRetryEvent]struct {
	tokens []string
	codes  []uint32
}{
	meshv1beta2.HTTPRetryEventServerError:  {[]string{"reset", "retriable-status-codes"}, []uint32{500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511}},
	meshv1beta2.HTTPRetryEventGatewayError: {[]string{"reset", "retriable-status-codes"}, []uint32{502, 503, 504}},
	meshv1beta2.HTTPRetryEventClientError:  {[]string{"retriable-status-codes"}, []uint32{409}},
	meshv1beta2.HTTPRetryEventStreamError:  {[]string{"refused-stream"}, nil},
}

func httpRetry(p *meshv1beta2.HTTPRetryPolicy) *mesh.Retry {
	if p == nil {
		return defaultRetry()
	}
	return retryOf(nil, p.HTTPRetryEvents, p.TCPRetryEvents, p.MaxRetries, p.PerRetryTimeout)
}

func grpcRetry(p *meshv1beta2.GRPCRetryPolicy) *mesh.Retry {
	if p == nil {
		return defaultRetry()
	}
	return retryOf(p.GRPCRetryEvents, p.HTTPRetryEvents, p.TCPRetryEvents, p.MaxRetries, p.PerRetryTimeout)
}

// retryOf merges the events of a policy: tokens in canonical order, status codes in the order of the events, each once.
// A policy without any event retries nothing.
func retryOf(grpc []meshv1beta2.GRPCRetryEvent, http []meshv1beta2.HTTPRetryEvent, tcp []meshv1beta2.TCPRetryEvent,
	maxRetries int64, perTry meshv1beta2.Duration,
) *mesh.Retry {
	r := &mesh.Retry{Max: limit(maxRetries)}
	var tokens []string
	for _, e := range grpc {
		tokens = append(tokens, string(e))
	}
	for _, e := range http {
		tokens = append(tokens, httpEvents[e].tokens...)
		for _, c := range httpEvents[e].codes {
			if !slices.Contains(r.StatusCodes, c) {
				r.StatusCodes = append(r.StatusCodes, c)
			}
		}
	}
	if len(tcp) > 0 {
		tokens = append(tokens, "connect-failure")
	}
	for _, t := range retryOrder {
		if slices.Contains(tokens, t) {
			r.On = append(r.On, t)
		}
	}
	if d := boundSpan(perTry.Duration()); d > 0 {
		r.PerTry = durationOf(d)
	}
	return r
}

func durationOf(d time.Duration) *time.Duration { return &d }

package xds

import (
	"context"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// response is one answer of a stream, in the form that the library's server takes. The stream keeps its own account of what was
// sent, so the library's is left empty.
type response struct {
	request   *discoveryv3.DeltaDiscoveryRequest
	resources []*discoveryv3.Resource
	removed   []string
}

// GetDeltaDiscoveryResponse returns the message; the resources in it are shared and must not be modified.
func (r *response) GetDeltaDiscoveryResponse() (*discoveryv3.DeltaDiscoveryResponse, error) {
	return &discoveryv3.DeltaDiscoveryResponse{TypeUrl: r.request.GetTypeUrl(), Resources: r.resources, RemovedResources: r.removed}, nil
}

// GetDeltaRequest returns the request that is answered.
func (r *response) GetDeltaRequest() *discoveryv3.DeltaDiscoveryRequest { return r.request }

// GetSystemVersion is not used: resources have versions of their own.
func (r *response) GetSystemVersion() (string, error) { return "", nil }

// GetResponseVersion is not used either.
func (r *response) GetResponseVersion() string { return "" }

// GetNextVersionMap is empty, see the type; not nil, because the library writes into it when a name is unsubscribed.
func (r *response) GetNextVersionMap() map[string]string { return map[string]string{} }

// GetReturnedResources is empty, see the type.
func (r *response) GetReturnedResources() map[string]string { return map[string]string{} }

// GetContext returns a context that never ends.
func (r *response) GetContext() context.Context { return context.Background() }

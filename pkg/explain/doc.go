// Package explain says what Envoy would do with one request.
//
// It reads the Envoy resources that a proxy gets, not the model they were made from, and follows Envoy's own rules: the choice
// of the filter chain, of the virtual host, of the first route that matches, of the clusters and their endpoints. So it is a
// second opinion on pkg/translate: tests ask it whether a request lands where the user meant it to.
//
// The model serves one purpose only: to name the user's object behind a route or cluster that was found by name.
//
// A request may meet the same proxy twice, as in a gateway: when a route leads to a static cluster whose only endpoint is the
// proxy's own outbound port on loopback, the request with its rewritten host, path and headers enters there as a second hop.
//
// A criterion that this package cannot judge is an error, never a guess. Start reading at Explain.
package explain

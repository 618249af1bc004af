package controllers

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

// Anybody in the cluster's network reaches the operator's ports. These are the bounds of those that serve proxies and replicas: proxies
// prove who they are with the headers of their first stream, replicas with their certificate. Many proxies may come from one address
// (the host network, an egress gateway): each that is known makes room for one more, up to a quarter of all room.
var proxyLimits = guard.Limits{Unproven: 1024, PerSource: 16, PerKnownSource: 256, Rate: 20, Burst: 128, Life: 10 * time.Second, Bytes: 192 << 10}

// The bounds of the ports of HTTP: nobody proves anything there. An API server opens some connections for each webhook.
var httpLimits = guard.Limits{Unproven: 512, PerSource: 64, Rate: 50, Burst: 200}

// listen opens a port whose connections are bounded.
func listen(ctx context.Context, address string, limits guard.Limits) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return guard.New(l, limits), nil
}

// panicked returns what logs a panic that was contained.
func (op *operator) panicked(where string) func(reason any, stack []byte) {
	return func(reason any, stack []byte) {
		panics.WithLabelValues(where).Inc()
		op.log.WithName(where).Error(fmt.Errorf("panic: %v", reason), "Recovered", "stack", string(stack))
	}
}

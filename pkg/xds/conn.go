package xds

import (
	"context"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

type deltaServer = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

// conn is the stream as the library's server sees it: its requests are within the bounds and carry no node.
type conn struct {
	deltaServer
	ctx      context.Context
	line     *guard.Conn
	stream   *stream
	panicked func(reason any) error
	// first is the first message until it has been returned.
	first *frame
}

// Context ends with the stream or when the server stops it.
func (c *conn) Context() context.Context { return c.ctx }

// begin waits for the first message, but not longer than limit.
func (c *conn) begin(limit time.Duration) error {
	if c.first != nil {
		return nil
	}
	type message struct {
		frame *frame
		err   error
	}
	got := make(chan message, 1)
	go func() {
		f, err := c.read()
		got <- message{f, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case m := <-got:
		c.first = m.frame
		return m.err
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-timer.C:
		return status.Error(codes.DeadlineExceeded, "no request received in time")
	}
}

func (c *conn) read() (*frame, error) {
	f := &frame{}
	err := c.RecvMsg(f)
	c.line.Message()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Recv returns the next request. One that is beyond the bounds, or cannot be read, ends the stream with the reason.
func (c *conn) Recv() (r *discoveryv3.DeltaDiscoveryRequest, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = c.panicked(reason)
			c.stream.stop(err)
		}
	}()
	f := c.first
	if c.first = nil; f == nil {
		if f, err = c.read(); err != nil {
			if status.Code(err) == codes.ResourceExhausted {
				c.stream.stop(err)
			}
			return nil, err
		}
	}
	if r, err = c.stream.accept(c.ctx, f); err != nil {
		c.stream.stop(err)
	}
	return r, err
}

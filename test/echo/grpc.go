package main

import (
	"context"
	"fmt"
	"net"
	"path"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// raw passes messages through as bytes: the stand-in knows no schema.
type raw struct{}

// Name of the codec.
func (raw) Name() string { return "proto" }

// Marshal returns the bytes.
func (raw) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("cannot encode a %T", v)
	}
	return *b, nil
}

// Unmarshal copies the bytes.
func (raw) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot decode into a %T", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

// serving is the answer of grpc.health.v1.Health/Check: field 1, value 1.
var serving = []byte{8, 1}

func (e *echo) serveGRPC(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		var in []byte
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		if strings.HasPrefix(method, "/grpc.health.v1.Health/") {
			e.note(method)
			return stream.SendMsg(&serving)
		}
		var local net.Addr
		if p, ok := peer.FromContext(stream.Context()); ok {
			local = p.LocalAddr
		}
		if err := stream.SetHeader(metadata.Pairs(chainHeader, e.identity(local))); err != nil {
			return err
		}
		if code := e.count(method); code != 0 {
			return status.Error(codes.Code(code), e.identity(local))
		}
		out := []byte(atPort(e.exchange(method, string(in)), local))
		return stream.SendMsg(&out)
	}))
	return s.Serve(l)
}

// exchange answers with the stored text, which is the identity at first; a method whose name begins with Set stores another one.
func (e *echo) exchange(method, in string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.state
	if strings.HasPrefix(path.Base(method), "Set") {
		e.state = in
	}
	return before
}

// oneGRPC makes one call on the connection that the instance keeps to a target.
func (e *echo) oneGRPC(ctx context.Context, o order.HTTP) order.Group {
	start := time.Now()
	g := order.Group{Count: 1}
	target, method, _ := strings.Cut(o.URL, "/")
	conn, err := e.connection(target)
	if err != nil {
		g.Error = err.Error()
		return g
	}
	in, out := []byte(o.Body), []byte(nil)
	var got metadata.MD
	if err := conn.Invoke(ctx, "/"+method, &in, &out, grpc.ForceCodec(raw{}), grpc.Header(&got)); err != nil {
		g.Error = err.Error()
		return g
	}
	g.Status, g.Body, g.Seconds = 200, string(out), time.Since(start).Seconds()
	g.Slowest, g.Headers = g.Seconds, map[string]string{}
	g.Chain = strings.Join(got.Get(chainHeader), ",")
	return g
}

// connection returns the one connection to a target.
func (e *echo) connection(target string) (*grpc.ClientConn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.conns[target]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient("dns:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		if e.conns == nil {
			e.conns = map[string]*grpc.ClientConn{}
		}
		e.conns[target] = c
	}
	return c, err
}

// callGRPC makes one unary call and returns the answer and the metadata of the response, the first value of each key.
func callGRPC(ctx context.Context, target, method string, md map[string]string, body []byte) (answer []byte, header map[string]string, err error) {
	conn, err := grpc.NewClient("dns:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	var got metadata.MD
	err = conn.Invoke(metadata.NewOutgoingContext(ctx, metadata.New(md)), method, &body, &answer, grpc.ForceCodec(raw{}), grpc.Header(&got))
	header = map[string]string{}
	for k, v := range got {
		header[k] = v[0]
	}
	return answer, header, err
}

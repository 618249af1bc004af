package guard

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Credentials returns TLS credentials of a gRPC server behind a Listener, whose streams know their connection.
func Credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	return &transport{c}
}

type transport struct {
	credentials.TransportCredentials
}

// authInfo is what TLS says, and the connection.
type authInfo struct {
	credentials.TLSInfo
	conn *Conn
}

// ServerHandshake implements credentials.TransportCredentials.
func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	own, ok := raw.(*Conn)
	said, isTLS := info.(credentials.TLSInfo)
	if !ok || !isTLS {
		return secure, info, nil
	}
	return secure, authInfo{said, own}, nil
}

// Clone implements credentials.TransportCredentials.
func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{t.TransportCredentials.Clone()}
}

// FromContext returns the connection of a stream; nil if it is not known.
func FromContext(ctx context.Context) *Conn {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, _ := p.AuthInfo.(authInfo)
	return info.conn
}

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/pkg/xds/proxyauth"
)

// access says who may be which node. Without clientCA and tokens everybody may be any, and nobody from outside gets in.
type access struct {
	listen              string
	certificate, key    string
	clientCA, tokenFile string
}

func (a *access) flags(f *pflag.FlagSet) {
	f.StringVar(&a.listen, "listen", "127.0.0.1:15010", "address, or unix:///path of a socket; beyond loopback only with --client-ca or --tokens")
	f.StringVar(&a.certificate, "tls-cert", "", "file with the server's certificate chain, read again at every connection")
	f.StringVar(&a.key, "tls-key", "", "file with the key of --tls-cert")
	f.StringVar(&a.clientCA, "client-ca", "", "file with the authority of client certificates; their common name, or the path of a URI in them, is the node")
	f.StringVar(&a.tokenFile, "tokens", "", "file of lines «token node-id»; proxies send a token as a bearer token")
}

// authenticator returns who decides, and the options of the gRPC server that go with it.
func (a *access) authenticator() (xds.Authenticator, []grpc.ServerOption, error) {
	switch {
	case a.clientCA != "" && a.tokenFile != "":
		return nil, nil, usageError{errors.New("--client-ca and --tokens exclude each other")}
	case (a.certificate == "") != (a.key == ""):
		return nil, nil, usageError{errors.New("--tls-cert and --tls-key go together")}
	case a.certificate == "" && (a.clientCA != "" || a.tokenFile != ""):
		return nil, nil, usageError{errors.New("--client-ca and --tokens need --tls-cert and --tls-key: credentials do not travel in clear text")}
	case a.certificate == "":
		return proxyauth.NodeID{}, nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(a.certificate, a.key)
		return &c, err
	}}
	if _, err := conf.GetCertificate(nil); err != nil {
		return nil, nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	var auth xds.Authenticator = proxyauth.NodeID{}
	switch {
	case a.clientCA != "":
		pem, err := os.ReadFile(a.clientCA)
		if err != nil {
			return nil, nil, fmt.Errorf("--client-ca: %w", err)
		}
		conf.ClientCAs, conf.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("--client-ca: %s holds no certificate in PEM form", a.clientCA)
		}
		auth = proxyauth.Certificates{}
	case a.tokenFile != "":
		file, err := proxyauth.NewTokenFile(a.tokenFile)
		if err != nil {
			return nil, nil, fmt.Errorf("--tokens: %w", err)
		}
		auth = file
	}
	return auth, []grpc.ServerOption{grpc.Creds(credentials.NewTLS(conf))}, nil
}

// listener listens on a Unix socket or on loopback, and elsewhere only when proxies have to prove who they are.
func (a *access) listener(ctx context.Context) (net.Listener, error) {
	if path, ok := strings.CutPrefix(a.listen, "unix://"); ok {
		if path == "" {
			return nil, usageError{errors.New("--listen unix:// names no socket: add its path, as in unix:///run/aftermesh/xds.sock")}
		}
		return (&net.ListenConfig{}).Listen(ctx, "unix", path)
	}
	host, port, err := net.SplitHostPort(a.listen)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return nil, usageError{fmt.Errorf("--listen %q is not of the form ADDRESS:PORT or unix:///path", a.listen)}
	}
	ip := net.ParseIP(host)
	if local := host == "localhost" || ip != nil && ip.IsLoopback(); !local && a.clientCA == "" && a.tokenFile == "" {
		return nil, usageError{fmt.Errorf("--listen %q is not on loopback, so anybody could claim any node id; use 127.0.0.1, ::1 or unix:///path, or give --client-ca or --tokens", a.listen)}
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", a.listen)
}

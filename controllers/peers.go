package controllers

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/aftermesh/aftermesh/pkg/guard"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/pkg/xds/peer"
)

// peerService is the headless Service of the replicas, see config/manager.
const peerService = "aftermesh-peers"

// handshake bounds the time that a replica has for TLS.
const handshake = 5 * time.Second

// servePeers offers this replica's rows to the others and follows theirs.
func (op *operator) servePeers() error {
	op.peers = &peer.Table{
		Dial: func(address string) (*grpc.ClientConn, error) {
			return grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(op.clientTLS())))
		},
		Changed: op.signal,
	}
	serve := func(ctx context.Context) error {
		conf := op.operatorCA.ServerConfig()
		conf.MinVersion, conf.NextProtos = tls.VersionTLS13, []string{"h2"}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
		conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := conf.Clone()
			c.GetConfigForClient, c.ClientCAs = nil, op.operatorCA.Pool()
			return c, nil
		}
		g := grpc.NewServer(grpc.Creds(guard.Credentials(credentials.NewTLS(conf))), grpc.ConnectionTimeout(handshake), grpc.StreamInterceptor(
			func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
				defer guard.FromContext(s.Context()).Prove(peerService, peerService)() // TLS has verified the certificate
				return next(srv, s)
			}))
		(&peer.Server{Rows: op.ownRows, Seen: op.source.Seen, Watch: op.cache.Watch}).Register(g)
		return serveGRPC(ctx, g, net.JoinHostPort(op.PodIP, strconv.Itoa(int(op.PeerPort))))
	}
	return errors.Join(op.manager.Add(everywhere(serve)), op.manager.Add(everywhere(op.findPeers)))
}

// findPeers keeps the table's list of replicas in step with the EndpointSlices of their Service.
func (op *operator) findPeers(ctx context.Context) error {
	const period = 500 * time.Millisecond
	tick := time.NewTicker(period)
	defer tick.Stop()
	served := op.served
	for {
		op.peers.Set(ctx, op.peerAddresses())
		select {
		case <-ctx.Done():
			return nil
		case <-served:
			served = nil // the slices are known from now on
		case <-tick.C:
		}
	}
}

// peerAddresses are where the other replicas offer their rows.
func (op *operator) peerAddresses() []string {
	var addresses []string
	for _, s := range op.source.Objects().Slices {
		if s.Namespace != op.Namespace || s.Service != peerService {
			continue
		}
		for _, e := range s.Endpoints {
			if !slices.Contains(op.PodIPs, e.Address) && e.Address != op.PodIP {
				addresses = append(addresses, net.JoinHostPort(e.Address, strconv.Itoa(int(op.PeerPort))))
			}
		}
	}
	return addresses
}

// catchUp waits until this replica has read as far as every other one, at most for as long as catchingUp: a proxy that changes over to
// it must not be taken back to an older state.
func (op *operator) catchUp(ctx context.Context) {
	const catchingUp, look = 5 * time.Second, 10 * time.Millisecond
	limit := time.After(catchingUp)
	for {
		reachable, all := op.peers.Reachable()
		if all >= len(op.peerAddresses()) && reachable == all && len(op.peers.Behind(op.source.Seen())) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-limit:
			op.log.Info("Serving before the other replicas were heard", "reachable", reachable, "count", all, "behind", op.peers.Behind(op.source.Seen()))
			return
		case <-time.After(look):
		}
	}
}

// ownRows are the proxies connected to this replica. A proxy with two streams, the old one not yet gone, counts with the newer.
func (op *operator) ownRows() []peer.Row {
	newest := map[string]xds.StreamState{}
	for _, s := range op.cache.Streams() {
		if had, ok := newest[s.Proxy.ID]; !ok || had.Connected.Before(s.Connected) {
			newest[s.Proxy.ID] = s
		}
	}
	rows := make([]peer.Row, 0, len(newest))
	for id, s := range newest {
		r := peer.Row{
			Pod: id, Group: s.Group, Namespace: s.Proxy.Namespace, Name: s.Proxy.Name,
			AckedSet: s.AckedSet, SetVersion: s.SetVersion, Connected: s.Connected,
		}
		if len(s.Refused) > 0 {
			r.Rejected = s.Refused[0].Name + ": " + s.Refused[0].Message
		}
		rows = append(rows, r)
	}
	return rows
}

// silent returns the pods whose proxy was started before a time and is connected to no replica. What an unreachable replica said last counts.
func (op *operator) silent(before time.Time) []*input.Pod {
	heard := map[string]bool{}
	for _, r := range op.rows() {
		heard[r.Pod] = true
	}
	return op.source.Silent(before, heard)
}

// rows are the proxies of all replicas.
func (op *operator) rows() []peer.Row { return append(op.ownRows(), op.peers.Rows()...) }

package fleet

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// probe is the name of an assignment that does not exist. The server's answer to it tells that it has seen everything before.
const probe = "probe"

// proxy is one stream that speaks as Envoy does: clusters, then their endpoints, listeners, then their routes; everything is
// acknowledged at once; after a break it comes back with all versions it has.
type proxy struct {
	number int
	pod    Pod
	events chan<- event
	// from is the address that it connects from.
	from net.IP

	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	have   map[string]map[string]string
	asked  map[string]map[string]bool
	// services and routes are the names that a cluster and a listener ask for.
	services map[string]string
	routes   map[string][]string
}

// event is a response that a proxy received, or, with an empty type, that it is in step with the server.
type event struct {
	proxy     int
	typeURL   string
	at        time.Time
	resources []*discoveryv3.Resource
}

var allTypes = []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType}

func newProxy(number int, p Pod, from net.IP, events chan<- event) *proxy {
	x := &proxy{number: number, pod: p, from: from, events: events, have: map[string]map[string]string{}, services: map[string]string{}, routes: map[string][]string{}}
	for _, t := range allTypes {
		x.have[t] = map[string]string{}
	}
	return x
}

// run keeps a stream open until ctx ends, with the pauses that the bootstrap gives Envoy.
func (x *proxy) run(ctx context.Context, address string, creds credentials.TransportCredentials) error {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: x.from}}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds), grpc.WithAuthority(serverName),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", to) }),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses}))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+x.pod.token)
	for wait := pauses.BaseDelay; ctx.Err() == nil; wait = min(2*wait, pauses.MaxDelay) {
		answered, err := x.talk(ctx, conn)
		if answered {
			wait = pauses.BaseDelay
		}
		if ctx.Err() == nil {
			x.events <- event{proxy: x.number, typeURL: "broken: " + err.Error()}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.Int64N(int64(wait)))):
		}
	}
	return nil
}

// talk is one stream. It is true when the server answered anything.
func (x *proxy) talk(ctx context.Context, conn *grpc.ClientConn) (answered bool, broken error) {
	var err error
	x.stream, err = discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false, err
	}
	if err := x.hello(); err != nil {
		return false, err
	}
	for {
		m, err := x.stream.Recv()
		if err != nil {
			return answered, err
		}
		answered = true
		at := time.Now()
		if err := x.take(m); err != nil {
			return answered, err
		}
		e := event{proxy: x.number, typeURL: m.GetTypeUrl(), at: at, resources: m.GetResources()}
		if len(e.resources) == 1 && e.resources[0].GetName() == probe {
			e.typeURL = ""
		}
		x.events <- e
	}
}

// hello opens the stream: what is there already is named with its versions.
func (x *proxy) hello() error {
	x.asked = map[string]map[string]bool{xds.EndpointType: {}, xds.RouteType: {}}
	again := len(x.have[xds.ClusterType]) > 0
	types := []string{xds.ClusterType}
	if again {
		types = allTypes
	}
	for i, t := range types {
		m := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t, InitialResourceVersions: maps.Clone(x.have[t])}
		if i == 0 {
			m.Node = node()
		}
		if asked := x.asked[t]; asked != nil {
			for name := range x.have[t] {
				asked[name] = true
				m.ResourceNamesSubscribe = append(m.ResourceNamesSubscribe, name)
			}
		}
		if err := x.stream.Send(m); err != nil {
			return err
		}
	}
	if again {
		return x.ask()
	}
	return nil
}

// ask sends the probe.
func (x *proxy) ask() error {
	return x.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.EndpointType, ResourceNamesSubscribe: []string{probe}})
}

// take notes what a response brought, acknowledges it, and asks for what follows from it.
func (x *proxy) take(m *discoveryv3.DeltaDiscoveryResponse) error {
	t := m.GetTypeUrl()
	for _, r := range m.GetResources() {
		if r.GetName() != probe {
			x.have[t][r.GetName()] = r.GetVersion()
		}
		if err := x.follow(r); err != nil {
			return err
		}
	}
	for _, name := range m.GetRemovedResources() {
		delete(x.have[t], name)
		delete(x.services, name)
		delete(x.routes, name)
	}
	ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t, ResponseNonce: m.GetNonce()}
	if len(m.GetResources()) == 1 && m.GetResources()[0].GetName() == probe {
		ack.ResourceNamesUnsubscribe = []string{probe}
	}
	if err := x.stream.Send(ack); err != nil {
		return err
	}
	switch t {
	case xds.ClusterType:
		if err := x.want(xds.EndpointType, slices.Collect(maps.Values(x.services))); err != nil {
			return err
		}
		return x.first(xds.ListenerType)
	case xds.ListenerType:
		var names []string
		for _, list := range x.routes {
			names = append(names, list...)
		}
		return x.want(xds.RouteType, names)
	case xds.RouteType:
		if x.asked[probe] == nil {
			x.asked[probe] = map[string]bool{}
			return x.ask()
		}
	}
	return nil
}

// first asks for everything of a type, once.
func (x *proxy) first(typeURL string) error {
	if x.asked[typeURL] != nil || len(x.have[typeURL]) > 0 {
		return nil
	}
	x.asked[typeURL] = map[string]bool{}
	return x.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL})
}

// follow finds the names that a cluster or a listener asks for.
func (x *proxy) follow(r *discoveryv3.Resource) error {
	switch r.GetResource().GetTypeUrl() {
	case xds.ClusterType:
		var c clusterv3.Cluster
		if err := r.GetResource().UnmarshalTo(&c); err != nil {
			return err
		}
		if service := c.GetEdsClusterConfig().GetServiceName(); service != "" {
			x.services[c.GetName()] = service
		}
	case xds.ListenerType:
		var l listenerv3.Listener
		if err := r.GetResource().UnmarshalTo(&l); err != nil {
			return err
		}
		x.routes[l.GetName()] = nil
		for _, chain := range l.GetFilterChains() {
			for _, f := range chain.GetFilters() {
				var manager hcmv3.HttpConnectionManager
				if f.GetTypedConfig().MessageIs(&manager) {
					if err := f.GetTypedConfig().UnmarshalTo(&manager); err != nil {
						return err
					}
					x.routes[l.GetName()] = append(x.routes[l.GetName()], manager.GetRds().GetRouteConfigName())
				}
			}
		}
	}
	return nil
}

// want subscribes and unsubscribes until exactly the names are asked for.
func (x *proxy) want(typeURL string, names []string) error {
	asked := x.asked[typeURL]
	m := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL}
	for _, name := range names {
		if !asked[name] {
			asked[name] = true
			m.ResourceNamesSubscribe = append(m.ResourceNamesSubscribe, name)
		}
	}
	for name := range asked {
		if !slices.Contains(names, name) {
			delete(asked, name)
			delete(x.have[typeURL], name)
			m.ResourceNamesUnsubscribe = append(m.ResourceNamesUnsubscribe, name)
		}
	}
	if len(m.GetResourceNamesSubscribe())+len(m.GetResourceNamesUnsubscribe()) == 0 {
		return nil
	}
	return x.stream.Send(m)
}

// node is what Envoy says about itself, as long as the real one: it lists several hundred extensions.
var node = sync.OnceValue(func() *corev3.Node {
	n := &corev3.Node{Id: "mesh/bench/virtualNode/any", Cluster: "bench", UserAgentName: "envoy"}
	const extensions = 500
	for i := range extensions {
		n.Extensions = append(n.Extensions, &corev3.Extension{
			Name: fmt.Sprintf("envoy.filters.http.extension_number_%d", i), Category: "envoy.filters.http",
			TypeUrls: []string{fmt.Sprintf("envoy.extensions.filters.http.extension_number_%d.v3.Configuration", i)},
		})
	}
	return n
})

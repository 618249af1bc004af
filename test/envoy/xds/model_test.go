package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// model is what is served, in the shape that package translate gives it: one egress listener whose chains name route configurations,
// and clusters whose endpoints have a name that ends with a hash of the cluster.
type model struct {
	chains   []chain
	clusters []cluster
}

// chain takes connections to one address of loopback.
type chain struct {
	ip, routes string
	hosts      []host
}

// host sends its requests to clusters by weight.
type host struct {
	name    string
	targets []target
}

type target struct {
	cluster string
	weight  uint32
}

// cluster has one endpoint, or none if the port is 0.
type cluster struct {
	name     string
	port     uint32
	http2    bool
	breakers uint32
	// unanswered leaves the assignment out of the set; poisoned makes Envoy refuse the cluster.
	unanswered, poisoned bool
}

// one is a model with a single chain.
func one(hosts []host, clusters ...cluster) model {
	return model{chains: []chain{{ip: "127.0.0.1", routes: "rds_egress_http_80", hosts: hosts}}, clusters: clusters}
}

// to is a host "shop" with the given targets.
func to(targets ...target) []host { return []host{{"shop", targets}} }

func (m model) resources(t *testing.T, port int) []*xds.Resource {
	t.Helper()
	var out []*xds.Resource
	add := func(name string, p proto.Message, needs ...string) {
		r, err := xds.NewResource(name, p, needs...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	for _, c := range m.clusters {
		p, service := c.cluster(t)
		add(c.name, p)
		if !c.unanswered && !c.poisoned {
			add(service, c.assignment(service))
		}
	}
	l := &listenerv3.Listener{Name: "lds_egress", Address: address("0.0.0.0", uint32(port))}
	for _, c := range m.chains {
		rc, needs := c.routeConfiguration()
		add(c.routes, rc, needs...)
		l.FilterChains = append(l.FilterChains, c.filterChain(t))
	}
	add(l.Name, l)
	return out
}

func (c chain) routeConfiguration() (*routev3.RouteConfiguration, []string) {
	rc := &routev3.RouteConfiguration{Name: c.routes, ValidateClusters: wrapperspb.Bool(false)}
	var needs []string
	for _, h := range c.hosts {
		w := &routev3.WeightedCluster{}
		for _, t := range h.targets {
			w.Clusters = append(w.Clusters, &routev3.WeightedCluster_ClusterWeight{Name: t.cluster, Weight: wrapperspb.UInt32(t.weight)})
			needs = append(needs, t.cluster)
		}
		rc.VirtualHosts = append(rc.VirtualHosts, &routev3.VirtualHost{Name: h.name, Domains: []string{h.name}, Routes: []*routev3.Route{{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_WeightedClusters{WeightedClusters: w}}},
		}}})
	}
	slices.Sort(needs)
	return rc, slices.Compact(needs)
}

func (c chain) filterChain(t *testing.T) *listenerv3.FilterChain {
	t.Helper()
	router := pack(t, &routerv3.Router{})
	manager := pack(t, &hcmv3.HttpConnectionManager{
		StatPrefix:     "egress",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: c.routes, ConfigSource: ads()}},
		HttpFilters:    []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router}}},
	})
	return &listenerv3.FilterChain{
		Name:             c.routes,
		FilterChainMatch: &listenerv3.FilterChainMatch{PrefixRanges: []*corev3.CidrRange{{AddressPrefix: c.ip, PrefixLen: wrapperspb.UInt32(32)}}},
		Filters:          []*listenerv3.Filter{{Name: "http", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager}}},
	}
}

// cluster returns the cluster and the name under which it asks for endpoints.
func (c cluster) cluster(t *testing.T) (*clusterv3.Cluster, string) {
	t.Helper()
	p := &clusterv3.Cluster{
		Name: c.name, ConnectTimeout: durationpb.New(time.Second),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxRequests: wrapperspb.UInt32(1000 + c.breakers)}}},
	}
	if c.http2 {
		p.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(t, &upstreamv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
			}},
		})}
	}
	if c.poisoned {
		p.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		p.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{endpoint("not-an-address.example", 80)},
		}}}
		return p, ""
	}
	p.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	p.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	p.EdsClusterConfig.ServiceName = fmt.Sprintf("%s/%s", c.name, hex.EncodeToString(sum[:4]))
	return p, p.EdsClusterConfig.ServiceName
}

func (c cluster) assignment(service string) *endpointv3.ClusterLoadAssignment {
	a := &endpointv3.ClusterLoadAssignment{ClusterName: service}
	if c.port != 0 {
		a.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{endpoint("127.0.0.1", c.port)}}}
	}
	return a
}

func endpoint(ip string, port uint32) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(ip, port)}}}
}

func address(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3, InitialFetchTimeout: durationpb.New(0),
	}
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

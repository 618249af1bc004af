package translate

import (
	"net/netip"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

const (
	// Source: dumps of App Mesh's configuration.
	localConnectTimeout    = 250 * time.Millisecond
	upstreamConnectTimeout = time.Second
	// ownConnectTimeout is that of connections from the proxy to itself. Only its own business can delay them: when a thousand came at
	// once, 250 ms ended all of them.
	ownConnectTimeout = 10 * time.Second
	// unlimited is what App Mesh wrote for every circuit breaker that was not set.
	unlimited = 2147483647
	// noTrafficInterval is Envoy's default pause between health checks of a healthy endpoint of a cluster that never had traffic,
	// stated so that the number of checks in a mesh can be told from the configuration.
	noTrafficInterval = 60 * time.Second
	// noTrafficRecheck is that pause for an endpoint that is not healthy yet. A cluster stays warming until each endpoint was checked
	// once after its secrets have come, and the first check often fails because they have not: with Envoy's default of a minute its
	// routes would wait that long.
	noTrafficRecheck = time.Second
	// healthJitterPercent spreads the checks of many callers over the interval.
	healthJitterPercent = 10
)

// upstream is a cluster and, if its endpoints come over EDS, the name under which it asks for them.
type upstream struct {
	cluster *xds.Resource
	service string
	// fault says why there is no cluster.
	fault Fault
}

// proxyFacts keeps the part of a profile that the cluster of a destination depends on.
func proxyFacts(d *mesh.Destination, p mesh.Profile) (out mesh.Profile) {
	out.SDS = d.TLS != nil && p.SDS
	out.IPv4 = d.Local != nil && d.Local.Address == "" && p.IPv4
	return out
}

// upstreamCluster returns the cluster through which proxies reach d.
func upstreamCluster(d *mesh.Destination, facts mesh.Profile) (upstream, error) {
	c := &clusterv3.Cluster{
		Name:            d.Cluster,
		ConnectTimeout:  durationpb.New(connectTimeout(d)),
		CircuitBreakers: breakers(d.Pool),
		HealthChecks:    healthChecks(d),
	}
	if d.Outlier != nil {
		c.OutlierDetection = outlierDetection(d.Outlier)
	}
	if len(c.HealthChecks) > 0 {
		c.IgnoreHealthOnHostRemoval = true
	}
	setKeepAlive(c, d.KeepAlive)
	if err := setHTTP(c, d.Protocol, d.HTTP, connectionsTo(d)); err != nil {
		return upstream{}, err
	}
	if d.TLS != nil {
		s, err := upstreamTLS(d.TLS, d.Protocol, facts.SDS)
		if err != nil {
			return upstream{}, err
		}
		c.TransportSocket = s
		if d.Plain {
			if c.TransportSocketMatches, err = plainMatches(); err != nil {
				return upstream{}, err
			}
		}
	}
	service, err := setAddresses(c, d, facts)
	if err != nil {
		return upstream{}, err
	}
	r, err := xds.NewResource(c.Name, c)
	return upstream{cluster: r, service: service}, err
}

// connectTimeout is how long a connection may take to come about.
func connectTimeout(d *mesh.Destination) time.Duration {
	switch {
	case d.Inspector != "":
		return ownConnectTimeout
	case d.Endpoints != nil || d.DNS != nil || d.Original:
		return upstreamConnectTimeout
	default:
		return localConnectTimeout
	}
}

// setAddresses makes c take its addresses from where d says, and returns the name under which it asks for endpoints, if it does.
func setAddresses(c *clusterv3.Cluster, d *mesh.Destination, facts mesh.Profile) (service string, err error) {
	switch {
	case d.DNS != nil:
		setDNS(c, d)
	case d.Endpoints != nil:
		return setEDS(c)
	case d.Original:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
		c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	case d.Inspector != "":
		return "", setPipe(c, d.Inspector)
	case d.Local != nil:
		at := mesh.Endpoint{Address: d.Local.Address, Port: d.Local.Port}
		if at.Address == "" {
			at.Address = loopback(facts.IPv4)
		}
		setFixed(c, at)
	default:
		setFixed(c)
	}
	return "", nil
}

func loopback(ipv4 bool) string {
	if ipv4 {
		return "127.0.0.1"
	}
	return "::1"
}

// setEDS makes c take its endpoints over ADS and returns the name it asks for. The name ends with a hash of the rest of the
// cluster: Envoy does not ask again for a name it already has, and a changed cluster would then wait indefinitely.
func setEDS(c *clusterv3.Cluster) (string, error) {
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: adsSource()}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return "", err
	}
	service := c.Name + "/" + mesh.Combine(string(b)).Short()
	c.EdsClusterConfig.ServiceName = service
	return service, nil
}

// setDNS makes Envoy resolve the host itself, or uses it as it is when it is an address. Names get a trailing dot, so that the
// pod's search domains are not tried, unless they have no dot at all.
func setDNS(c *clusterv3.Cluster, d *mesh.Destination) {
	host := d.DNS.Host
	switch _, err := netip.ParseAddr(host); {
	case err == nil:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	case d.DNS.All:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	default:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS}
	}
	if c.GetType() != clusterv3.Cluster_STATIC {
		c.DnsLookupFamily = dnsFamily(d.IPPreference)
		if strings.Contains(host, ".") && !strings.HasSuffix(host, ".") {
			host += "."
		}
	}
	c.LoadAssignment = assignment(c.Name, []mesh.Endpoint{{Address: host, Port: d.DNS.Port}}, healthPort(d))
}

// dnsFamily maps the preference of a mesh. Source: App Mesh user guide, IP preference; none means IPv6 first.
func dnsFamily(p mesh.IPPreference) clusterv3.Cluster_DnsLookupFamily {
	switch p {
	case mesh.IPv4Only:
		return clusterv3.Cluster_V4_ONLY
	case mesh.IPv6Only:
		return clusterv3.Cluster_V6_ONLY
	case mesh.IPv4Preferred:
		return clusterv3.Cluster_V4_PREFERRED
	default:
		return clusterv3.Cluster_AUTO
	}
}

// setFixed gives c the addresses; without any, every connection to it fails.
func setFixed(c *clusterv3.Cluster, addresses ...mesh.Endpoint) {
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = assignment(c.Name, addresses, 0)
}

// setPipe makes c lead to a listener of the proxy itself and tell it the addresses of each connection.
func setPipe(c *clusterv3.Cluster, path string) error {
	raw, err := clearText()
	if err != nil {
		return err
	}
	typed, err := pack(&proxyprotocolv3.ProxyProtocolUpstreamTransport{
		Config:          &corev3.ProxyProtocolConfig{Version: corev3.ProxyProtocolConfig_V2},
		TransportSocket: raw,
	})
	if err != nil {
		return err
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.TransportSocket = &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.upstream_proxy_protocol",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed},
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: pipeAddress(path)}},
		}},
	}}}
	return nil
}

func pipeAddress(path string) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}
}

func breakers(p mesh.Pool) *clusterv3.CircuitBreakers {
	limit := func(n uint32) *wrapperspb.UInt32Value {
		if n == 0 {
			n = unlimited
		}
		return wrapperspb.UInt32(n)
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     limit(p.MaxConnections),
		MaxPendingRequests: limit(p.MaxPendingRequests),
		MaxRequests:        limit(p.MaxRequests),
		MaxRetries:         limit(0),
	}}}
}

// outlierDetection maps App Mesh's rule: only consecutive server errors eject, at least one host may always be ejected, and
// an active health check does not bring a host back early. Source: App Mesh user guide, outlier detection.
func outlierDetection(o *mesh.Outlier) *clusterv3.OutlierDetection {
	return &clusterv3.OutlierDetection{
		Consecutive_5Xx:                        wrapperspb.UInt32(o.MaxServerErrors),
		Interval:                               durationpb.New(o.Interval),
		BaseEjectionTime:                       durationpb.New(o.BaseEjection),
		MaxEjectionPercent:                     wrapperspb.UInt32(o.MaxEjectionPercent),
		AlwaysEjectOneHost:                     wrapperspb.Bool(true),
		EnforcingSuccessRate:                   wrapperspb.UInt32(0),
		SuccessfulActiveHealthCheckUnejectHost: wrapperspb.Bool(false),
	}
}

func healthChecks(d *mesh.Destination) []*corev3.HealthCheck {
	h := d.Health
	if h == nil {
		return nil
	}
	c := &corev3.HealthCheck{
		Interval:                 durationpb.New(h.Interval),
		Timeout:                  durationpb.New(h.Timeout),
		HealthyThreshold:         wrapperspb.UInt32(h.Healthy),
		UnhealthyThreshold:       wrapperspb.UInt32(h.Unhealthy),
		NoTrafficInterval:        durationpb.New(noTrafficRecheck),
		NoTrafficHealthyInterval: durationpb.New(noTrafficInterval),
		IntervalJitterPercent:    healthJitterPercent,
	}
	switch h.Protocol {
	case mesh.TCP:
		c.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}}
	case mesh.GRPC:
		c.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{
			GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{Authority: d.HealthHost},
		}
	default:
		hc := &corev3.HealthCheck_HttpHealthCheck{Host: d.HealthHost, Path: h.Path}
		if h.Protocol == mesh.HTTP2 {
			hc.CodecClientType = typev3.CodecClientType_HTTP2
		}
		c.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: hc}
	}
	return []*corev3.HealthCheck{c}
}

// healthPort is the port that health checks go to, 0 for that of the endpoint.
func healthPort(d *mesh.Destination) uint32 {
	if d.Health == nil {
		return 0
	}
	return d.Health.Port
}

// assignment returns the endpoints under the given name, one locality per zone in the order of the zones' names.
func assignment(name string, list []mesh.Endpoint, healthPort uint32) *endpointv3.ClusterLoadAssignment {
	a := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	var zone *endpointv3.LocalityLbEndpoints
	for i, e := range list {
		if i == 0 || e.Zone != list[i-1].Zone {
			zone = &endpointv3.LocalityLbEndpoints{}
			if e.Zone != "" {
				zone.Locality = &corev3.Locality{Zone: e.Zone}
			}
			a.Endpoints = append(a.Endpoints, zone)
		}
		endpoint := &endpointv3.Endpoint{Address: socketAddress(e.Address, e.Port)}
		if healthPort != 0 {
			endpoint.HealthCheckConfig = &endpointv3.Endpoint_HealthCheckConfig{PortValue: healthPort}
		}
		member := &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: endpoint}}
		if e.Plain {
			member.Metadata = plainMetadata()
		}
		zone.LbEndpoints = append(zone.LbEndpoints, member)
	}
	return a
}

func socketAddress(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func adsSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		// Over ADS every name is always answered, so Envoy may wait: it never runs half configured.
		InitialFetchTimeout: durationpb.New(0),
	}
}

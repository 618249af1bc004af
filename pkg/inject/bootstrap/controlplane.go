package bootstrap

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Times of the ADS stream. Pings are App Mesh's. The back-off makes a proxy return 0.3 s after the control plane does;
// Envoy's own (up to 30 s) was measured at 10 to 25 s.
const (
	connectTimeout = 5 * time.Second
	pingInterval   = 10 * time.Second
	pingTimeout    = 20 * time.Second
	backOffBase    = 200 * time.Millisecond
	backOffMax     = 2 * time.Second
	// localTimeout is for Unix sockets and collectors. Source: App Mesh.
	localTimeout = time.Second
)

// protocolOptions is both the type and the key of a cluster's HTTP settings.
const protocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func dynamicResources(fetchTimeout time.Duration) *bootstrapv3.Bootstrap_DynamicResources {
	overADS := func() *corev3.ConfigSource {
		return &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
			ResourceApiVersion:    corev3.ApiVersion_V3,
			InitialFetchTimeout:   duration(fetchTimeout),
		}
	}
	return &bootstrapv3.Bootstrap_DynamicResources{
		LdsConfig: overADS(),
		CdsConfig: overADS(),
		AdsConfig: &corev3.ApiConfigSource{
			ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
			TransportApiVersion:       corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: ControlPlaneCluster,
				RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
					BaseInterval: duration(backOffBase), MaxInterval: duration(backOffMax),
				}},
			}}}},
		},
	}
}

// controlPlane is the cluster of the ADS stream: HTTP/2 over TLS, with the token added to every stream.
func (w *writer) controlPlane() *clusterv3.Cluster {
	c := w.settings.ControlPlane
	options := &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: http2Options(&corev3.Http2ProtocolOptions{
			ConnectionKeepalive: &corev3.KeepaliveSettings{Interval: duration(pingInterval), Timeout: duration(pingTimeout)},
		}),
		HttpFilters: []*hcmv3.HttpFilter{w.credentialFilter(), {
			Name:       "envoy.filters.http.upstream_codec",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: w.any(&codecv3.UpstreamCodec{})},
		}},
	}
	cluster := w.dnsCluster(ControlPlaneCluster, c.Host, c.Port, connectTimeout)
	cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{protocolOptions: w.any(options)}
	cluster.TransportSocket = &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: w.any(serverTLS(c))},
	}
	return cluster
}

func serverTLS(c ControlPlane) *tlsv3.UpstreamTlsContext {
	return &tlsv3.UpstreamTlsContext{
		Sni: c.ServerName,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams: &tlsv3.TlsParameters{
				TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
				TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: c.CA}},
				MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
					SanType: tlsv3.SubjectAltNameMatcher_DNS,
					Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: c.ServerName}},
				}},
			}},
		},
	}
}

// credentialFilter adds "authorization: Bearer <token>". While there is no token a stream fails inside Envoy and is tried
// again; nothing unauthenticated leaves the pod.
func (w *writer) credentialFilter() *hcmv3.HttpFilter {
	c := w.settings.ControlPlane
	generic := &genericv3.Generic{
		Header:            "authorization",
		HeaderValuePrefix: "Bearer ",
		Credential: &tlsv3.SdsSecretConfig{
			Name: CredentialSecret,
			SdsConfig: &corev3.ConfigSource{
				ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
					Path:             c.CredentialFile,
					WatchedDirectory: &corev3.WatchedDirectory{Path: c.CredentialDir},
				}},
				ResourceApiVersion:  corev3.ApiVersion_V3,
				InitialFetchTimeout: duration(secretFetchTimeout),
			},
		},
	}
	return &hcmv3.HttpFilter{
		Name: "envoy.filters.http.credential_injector",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: w.any(&injectorv3.CredentialInjector{
			Overwrite: true,
			Credential: &corev3.TypedExtensionConfig{
				Name:        "envoy.http.injected_credentials.generic",
				TypedConfig: w.any(generic),
			},
		})},
	}
}

// sdsCluster leads to the local SDS provider's socket.
func (w *writer) sdsCluster() *clusterv3.Cluster {
	options := &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: http2Options(&corev3.Http2ProtocolOptions{})}
	cluster := pipeCluster(SDSCluster, w.settings.SDSSocket)
	cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{protocolOptions: w.any(options)}
	return cluster
}

func http2Options(o *corev3.Http2ProtocolOptions) *httpv3.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: o},
	}}
}

// dnsCluster resolves host as the pod would; an address is its own answer.
func (w *writer) dnsCluster(name, host string, port uint16, timeout time.Duration) *clusterv3.Cluster {
	family := clusterv3.Cluster_V4_ONLY
	switch w.settings.IPFamilies {
	case "6":
		family = clusterv3.Cluster_V6_ONLY
	case "46":
		family = clusterv3.Cluster_V4_PREFERRED
	}
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS},
		ConnectTimeout:       duration(timeout),
		DnsLookupFamily:      family,
		//nolint:staticcheck // its successor is not known to the oldest Envoy supported
		DnsFailureRefreshRate: &clusterv3.Cluster_RefreshRate{
			BaseInterval: duration(backOffBase), MaxInterval: duration(backOffMax),
		},
		LoadAssignment: assignment(name, socketAddress(host, port, corev3.SocketAddress_TCP)),
	}
}

func pipeCluster(name, path string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       duration(localTimeout),
		LoadAssignment:       assignment(name, pipeAddress(path, 0)),
	}
}

func assignment(name string, address *corev3.Address) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		}}}},
	}
}

func pipeAddress(path string, mode uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path, Mode: mode}}}
}

func socketAddress(host string, port uint16, protocol corev3.SocketAddress_Protocol) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Protocol: protocol, Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

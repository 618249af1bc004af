package translate

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

const (
	// Envoy's defaults of the headers of a request as a whole.
	usualHeaderKiB, usualHeaders = 60, 100
	// Every proxy adds headers: request id, forwarded protocol, deadline, trace context. The next one on the way accepts that much more,
	// so that the first refuses what is too large, by 431, and the next never resets a stream for it.
	hopHeaderKiB, hopHeaders = 4, 20

	// streamsPerConnection is how many requests share one HTTP/2 connection. Source: Envoy's default.
	streamsPerConnection = 1024
	// streamWindow is what one request or response may have in flight that its receiver does not read. The connection's window holds
	// that of all streams, so that clients that stop reading never stop the others. Envoy's defaults, 16 MiB and 24 MiB, let two do so.
	streamWindow     = 1 << 20
	connectionWindow = streamsPerConnection * streamWindow
)

// unnamedHost is the host of a request in HTTP/1.0 that names none. No name below .invalid exists (RFC 6761).
const unnamedHost = "http10.invalid"

// connectionManager returns the HTTP filter of a chain. Source of its settings: dumps of App Mesh's configuration; what is not
// set has Envoy's default (automatic codec, 5 minutes stream idle timeout, `server: envoy`). Upgrades are a matter of routes.
func connectionManager(c chain, logs []*accesslogv3.AccessLog) (*hcmv3.HttpConnectionManager, error) {
	router, err := pack(&routerv3.Router{})
	if err != nil {
		return nil, err
	}
	options := c.in.HTTP
	http1, err := serverHTTP1(options)
	if err != nil {
		return nil, err
	}
	m := &hcmv3.HttpConnectionManager{
		StatPrefix: c.of.StatPrefix,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: adsSource(), RouteConfigName: c.of.RouteConfiguration,
		}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router},
		}},
		Tracing:                      &hcmv3.HttpConnectionManager_Tracing{},
		AccessLog:                    logs,
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_KEEP_UNCHANGED,
		HttpProtocolOptions:          http1,
		Http2ProtocolOptions:         http2Options(),
		// The name of a host is looked up with and without the dot that ends a fully qualified one; the application's own proxy leaves it.
		StripTrailingHostDot: c.in.Outbound || c.of.Edge != nil,
	}
	// An upgrade over HTTP/2 is judged by the route. A proxy that does not know of it ends the connection with all requests on it.
	m.Http2ProtocolOptions.AllowConnect = true
	limitHeaders(m, c)
	m.Http2ProtocolOptions.MaxHeaderFieldSizeKb = fieldLimit(m.MaxRequestHeadersKb)
	if options.PassServerHeader {
		m.ServerHeaderTransformation = hcmv3.HttpConnectionManager_PASS_THROUGH
	}
	if e := c.of.Edge; e != nil {
		// The peer is added to X-Forwarded-For, and X-Forwarded-Proto says how the request came, unless a trusted proxy has said so.
		m.UseRemoteAddress = wrapperspb.Bool(true)
		m.XffNumTrustedHops = e.TrustedHops
		m.PreserveExternalRequestId = true
	}
	return m, nil
}

// limitHeaders states the limits where they are not Envoy's own.
func limitHeaders(m *hcmv3.HttpConnectionManager, c chain) {
	common := &corev3.HttpProtocolOptions{}
	if n := headerCount(c.in.HTTP, c.of.Hops); n != usualHeaders {
		common.MaxHeadersCount = wrapperspb.UInt32(n)
	}
	if kib := headerKiB(c.in.HTTP, c.of.Hops); kib != usualHeaderKiB {
		m.MaxRequestHeadersKb = wrapperspb.UInt32(kib)
	}
	if c.in.Profile.Draining {
		common.MaxRequestsPerConnection = wrapperspb.UInt32(1)
	}
	if common.MaxHeadersCount != nil || common.MaxRequestsPerConnection != nil {
		m.CommonHttpProtocolOptions = common
	}
}

// headerKiB and headerCount are the limits of a proxy that requests reach after the given number of others.
func headerKiB(o mesh.HTTPOptions, hops uint32) uint32 {
	return min(or(o.MaxHeaderKiB, usualHeaderKiB)+hops*hopHeaderKiB, maxHeaderKiB)
}

func headerCount(o mesh.HTTPOptions, hops uint32) uint32 {
	return or(o.MaxHeaders, usualHeaders) + hops*hopHeaders
}

// fieldLimit is the limit of a single header in HTTP/2, beside a stated limit of all together. Where it is passed, the connection ends with
// all requests on it, while the other limit costs one request. Envoy takes no more than the limit of all, except where a cluster leaves that
// to it. Envoy 1.37 does not know the field, and has 64 KiB.
func fieldLimit(all *wrapperspb.UInt32Value) *wrapperspb.UInt32Value {
	if all.GetValue() <= usualFieldKiB {
		return nil
	}
	return wrapperspb.UInt32(all.Value)
}

// maxHeaderKiB is the most that Envoy takes as limit of a single header, usualFieldKiB its default.
const maxHeaderKiB, usualFieldKiB = 256, 64

func or(n, otherwise uint32) uint32 {
	if n == 0 {
		return otherwise
	}
	return n
}

// serverHTTP1 is what a proxy takes from clients that speak HTTP/1.
func serverHTTP1(o mesh.HTTPOptions) (*corev3.Http1ProtocolOptions, error) {
	format, err := headerCase(o)
	if err != nil {
		return nil, err
	}
	h := &corev3.Http1ProtocolOptions{
		HeaderKeyFormat: format,
		// Clients that would like to go on in TLS, or in another version of HTTP, get what they asked for as they asked. Source: RFC 9110, 7.8.
		IgnoreHttp_11Upgrade: []*matcherv3.StringMatcher{ignoredUpgrade("TLS/"), ignoredUpgrade("HTTP/")},
	}
	if !o.RefuseHTTP10 {
		h.AcceptHttp_10, h.DefaultHostForHttp_10 = true, unnamedHost
	}
	return h, nil
}

func ignoredUpgrade(prefix string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}, IgnoreCase: true}
}

// headerCase keeps the letters of header names; nil makes them small.
func headerCase(o mesh.HTTPOptions) (*corev3.Http1ProtocolOptions_HeaderKeyFormat, error) {
	if !o.KeepHeaderCase {
		return nil, nil
	}
	typed, err := pack(&preservecasev3.PreserveCaseFormatterConfig{})
	return &corev3.Http1ProtocolOptions_HeaderKeyFormat{HeaderFormat: &corev3.Http1ProtocolOptions_HeaderKeyFormat_StatefulFormatter{
		StatefulFormatter: &corev3.TypedExtensionConfig{Name: "envoy.http.stateful_header_formatters.preserve_case", TypedConfig: typed},
	}}, err
}

// http2Options are those of both ends of a connection that carries the requests of many clients: what one of them sends may end its
// own stream only.
func http2Options() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams:                    wrapperspb.UInt32(streamsPerConnection),
		InitialStreamWindowSize:                 wrapperspb.UInt32(streamWindow),
		InitialConnectionWindowSize:             wrapperspb.UInt32(connectionWindow),
		OverrideStreamErrorOnInvalidHttpMessage: wrapperspb.Bool(true),
	}
}

// connections is how a cluster uses its connections, beside the options of the mesh.
type connections struct {
	// Idle ends connections of HTTP/1 that are not in use; 0 leaves them to Envoy, which waits an hour.
	Idle time.Duration
	// Requests is how many an HTTP/2 connection carries in its life, at once streamsPerConnection or only one if Alone.
	Requests uint32
	Alone    bool
}

var (
	// toPeers: the other side ends an HTTP/2 connection with all its requests when it has seen a thousand cancelled ones, and has a fault of
	// one client for that of all. Such a connection is replaced before. Source: nghttp2, limit of RST_STREAM.
	toPeers = connections{Requests: 900}
	// toApplication: the same, where Netty ends a connection after 200 cancelled requests. An idle connection ends before the application
	// ends it: a request that meets the end of its connection is lost, and whether the application has read it cannot be known. The
	// shortest of common limits is gunicorn's, 2 s; Node.js and uvicorn wait 5 s.
	toApplication = connections{Requests: 200, Idle: time.Second}
	// toStrangers: an idle connection ends early for the same reason; nothing repeats a request that is lost.
	toStrangers = connections{Idle: time.Second}
	// toItself: the proxy limits the cancelled requests of strangers, which pass from one of its listeners to another. Each of them has a
	// connection of its own on the way, as in HTTP/1.
	toItself = connections{Requests: 200, Alone: true}
)

// maxHops is how many proxies a request passes at most before that of the application.
const maxHops = 2

// connectionsTo is how clusters of a destination use their connections.
func connectionsTo(d *mesh.Destination) connections {
	switch {
	case d.Original:
		return toStrangers
	case d.Local == nil:
		return toPeers
	case d.Local.Address == "":
		return toItself
	default:
		return toApplication
	}
}

// setHTTP makes a cluster speak its protocol as the options say.
func setHTTP(c *clusterv3.Cluster, p mesh.Protocol, o mesh.HTTPOptions, use connections) error {
	if !p.IsHTTP() || p == mesh.HTTP && use.Idle == 0 && !o.KeepHeaderCase && o.MaxHeaders == 0 && o.MaxHeaderKiB == 0 {
		return nil // Envoy's own options say it all
	}
	opts, err := clientOptions(p, o, use)
	if err != nil {
		return err
	}
	typed, err := pack(opts)
	if err != nil {
		return err
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed}
	return nil
}

func clientOptions(p mesh.Protocol, o mesh.HTTPOptions, use connections) (*upstreamv3.HttpProtocolOptions, error) {
	explicit := &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{}
	common := &corev3.HttpProtocolOptions{}
	if o.MaxHeaders != 0 {
		common.MaxHeadersCount = wrapperspb.UInt32(headerCount(o, maxHops))
	}
	if o.MaxHeaderKiB != 0 {
		common.MaxResponseHeadersKb = wrapperspb.UInt32(headerKiB(o, maxHops))
	}
	if p == mesh.HTTP {
		format, err := headerCase(o)
		if err != nil {
			return nil, err
		}
		explicit.ProtocolConfig = &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{HeaderKeyFormat: format},
		}
		if use.Idle > 0 {
			common.IdleTimeout = durationpb.New(use.Idle)
		}
	} else {
		h2 := http2Options()
		h2.MaxHeaderFieldSizeKb = wrapperspb.UInt32(maxHeaderKiB)
		if common.MaxResponseHeadersKb != nil {
			h2.MaxHeaderFieldSizeKb = fieldLimit(common.MaxResponseHeadersKb)
		}
		if use.Alone {
			h2.MaxConcurrentStreams = wrapperspb.UInt32(1)
		}
		explicit.ProtocolConfig = &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}
		common.MaxRequestsPerConnection = wrapperspb.UInt32(use.Requests)
	}
	return &upstreamv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: common,
		UpstreamProtocolOptions:   &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	}, nil
}

// setKeepAlive has the kernel probe silent connections to a cluster.
func setKeepAlive(c *clusterv3.Cluster, k *mesh.KeepAlive) {
	if k == nil {
		return
	}
	seconds := func(d time.Duration) *wrapperspb.UInt32Value { return wrapperspb.UInt32(uint32(max(d/time.Second, 1))) }
	c.UpstreamConnectionOptions = &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
		KeepaliveProbes: wrapperspb.UInt32(k.Probes), KeepaliveTime: seconds(k.Idle), KeepaliveInterval: seconds(k.Interval),
	}}
}

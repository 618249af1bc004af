package translate

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// connectionManager returns the HTTP filter of a chain. Source of its settings: dumps of App Mesh's configuration; what is not
// set has Envoy's default (automatic codec, 5 minutes stream idle timeout, `server: envoy`).
func connectionManager(c chain, logs []*accesslogv3.AccessLog) (*hcmv3.HttpConnectionManager, error) {
	router, err := pack(&routerv3.Router{})
	if err != nil {
		return nil, err
	}
	m := &hcmv3.HttpConnectionManager{
		StatPrefix: c.StatPrefix,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: adsSource(), RouteConfigName: c.Routes,
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
	}
	if c.Draining {
		m.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxRequestsPerConnection: wrapperspb.UInt32(1)}
	}
	if c.WebSocket {
		m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
	}
	return m, nil
}

// tcpIdleDefault is Envoy's own bound for silent TCP connections; dumps of App Mesh's configuration show it unset, although the
// user guide says 300 s.
const tcpIdleDefault = time.Hour

func tcpProxy(c chain, logs []*accesslogv3.AccessLog) *tcpproxyv3.TcpProxy {
	p := &tcpproxyv3.TcpProxy{StatPrefix: c.StatPrefix, AccessLog: logs}
	if c.Idle != nil && *c.Idle != tcpIdleDefault {
		p.IdleTimeout = durationpb.New(*c.Idle)
	}
	weights := uint32(0)
	for _, t := range c.Clusters {
		weights += t.Weight
	}
	if len(c.Clusters) == 1 || weights == 0 {
		p.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: c.Clusters[0].Cluster}
		return p
	}
	w := &tcpproxyv3.TcpProxy_WeightedCluster{}
	for _, t := range c.Clusters {
		// Envoy refuses a weight of 0 here, unlike in HTTP routes.
		if t.Weight > 0 {
			w.Clusters = append(w.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: t.Cluster, Weight: t.Weight})
		}
	}
	p.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: w}
	return p
}

// accessLogs returns the file sink of both directions, or none. A text format is taken verbatim: users write their own line end.
func accessLogs(a *mesh.AccessLog) ([]*accesslogv3.AccessLog, error) {
	if a == nil {
		return nil, nil
	}
	f := &filelogv3.FileAccessLog{Path: a.Path}
	switch {
	case a.Text != "":
		f.AccessLogFormat = &filelogv3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: a.Text},
			}},
		}}
	case len(a.JSON) > 0:
		fields := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for _, kv := range a.JSON {
			fields.Fields[kv.Key] = structpb.NewStringValue(kv.Value)
		}
		f.AccessLogFormat = &filelogv3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields},
		}}
	}
	typed, err := pack(f)
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{
		Name:       "envoy.access_loggers.file",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: typed},
	}}, nil
}

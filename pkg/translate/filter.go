package translate

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamlogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// tcpIdleDefault is Envoy's own bound for silent TCP connections; dumps of App Mesh's configuration show it unset, although the
// user guide says 300 s.
const tcpIdleDefault = time.Hour

func tcpProxy(l *mesh.Listener, logs []*accesslogv3.AccessLog) *tcpproxyv3.TcpProxy {
	p := &tcpproxyv3.TcpProxy{StatPrefix: l.StatPrefix, AccessLog: logs}
	if l.Idle != nil && *l.Idle != tcpIdleDefault {
		p.IdleTimeout = durationpb.New(*l.Idle)
	}
	weights := uint32(0)
	for _, t := range l.Targets {
		weights += t.Weight
	}
	if len(l.Targets) == 1 || weights == 0 {
		p.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: l.Targets[0].Cluster}
		return p
	}
	w := &tcpproxyv3.TcpProxy_WeightedCluster{}
	for _, t := range l.Targets {
		// Envoy refuses a weight of 0 here, unlike in HTTP routes.
		if t.Weight > 0 {
			w.Clusters = append(w.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: t.Cluster, Weight: t.Weight})
		}
	}
	p.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: w}
	return p
}

// accessLogs returns the sink of both directions, or none. A text format is taken verbatim: users write their own line end.
func accessLogs(a *mesh.AccessLog) ([]*accesslogv3.AccessLog, error) {
	if a == nil {
		return nil, nil
	}
	name, sink := accessLogSink(a.Path, accessLogFormat(a))
	typed, err := pack(sink)
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{Name: name, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: typed}}}, nil
}

// accessLogSink writes to a file, or to the process's own output where that is meant: its path cannot be opened where it is a socket,
// as under systemd, and Envoy would refuse the listener.
func accessLogSink(path string, format *corev3.SubstitutionFormatString) (string, proto.Message) {
	switch path {
	case "/dev/stdout":
		s := &streamlogv3.StdoutAccessLog{}
		if format != nil {
			s.AccessLogFormat = &streamlogv3.StdoutAccessLog_LogFormat{LogFormat: format}
		}
		return "envoy.access_loggers.stdout", s
	case "/dev/stderr":
		s := &streamlogv3.StderrAccessLog{}
		if format != nil {
			s.AccessLogFormat = &streamlogv3.StderrAccessLog_LogFormat{LogFormat: format}
		}
		return "envoy.access_loggers.stderr", s
	}
	f := &filelogv3.FileAccessLog{Path: path}
	if format != nil {
		f.AccessLogFormat = &filelogv3.FileAccessLog_LogFormat{LogFormat: format}
	}
	return "envoy.access_loggers.file", f
}

// accessLogFormat is nil for Envoy's own format.
func accessLogFormat(a *mesh.AccessLog) *corev3.SubstitutionFormatString {
	switch {
	case a.Text != "":
		return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_TextFormatSource{
			TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: a.Text}},
		}}
	case len(a.JSON) > 0:
		fields := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for _, kv := range a.JSON {
			fields.Fields[kv.Key] = structpb.NewStringValue(kv.Value)
		}
		return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields}}
	default:
		return nil
	}
}

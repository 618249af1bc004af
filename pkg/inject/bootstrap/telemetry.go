package bootstrap

import (
	"encoding/json"
	"math"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Collector clusters. Source: App Mesh's agent.
const (
	jaegerCluster  = "jaeger"
	datadogCluster = "datadog_agent"
)

// defaultXRayRate is the rate at which X-Ray's own sampling rules apply: no manifest is written for it.
const defaultXRayRate = 0.05

// listenerTags pull protocol, port and route configuration out of the stat prefix "ingress.<protocol>.<port>" that nodes
// with several listeners have. Source: App Mesh's agent, which wrote each as one expression that began with ".*?". Envoy tries an
// expression only on names that begin with the literal word after its "^", so every place of the prefix has an expression of its own:
// a cluster costs a processor 0.4 ms instead of the 43 of App Mesh's form.
var listenerTags = func() (tags []Tag) {
	for _, t := range []Tag{
		{"appmesh.listener_protocol", `((\w+?)\.)[0-9]+?\.`},
		{"appmesh.listener_port", `\w+?\.(([0-9]+?)\.)`},
		{"envoy.rds_route_config", `\w+?\.[0-9]+?\.rds\.((.*?)\.)`},
	} {
		for _, place := range listenerStats {
			tags = append(tags, Tag{t.Name, place + t.Value})
		}
	}
	return tags
}()

// listenerStats is how the names of all statistics begin that have that prefix: those of a listener's HTTP or TCP filter, and the same
// once more below the listener.
var listenerStats = []string{`^http\.ingress\.`, `^tcp\.ingress\.`, `^listener\..+?\.(?:http|tcp)\.ingress\.`}

// ownStreams are the statistics of the ADS stream that would count as requests: every failed attempt as a 503.
var ownStreams = []string{
	"cluster." + ControlPlaneCluster + ".upstream_rq_2", "cluster." + ControlPlaneCluster + ".upstream_rq_5",
	"cluster." + ControlPlaneCluster + ".internal.",
}

func (w *writer) addStats(b *bootstrapv3.Bootstrap) {
	s := w.settings
	config := &metricsv3.StatsConfig{}
	for _, tag := range s.Tags {
		config.StatsTags = append(config.StatsTags, &metricsv3.TagSpecifier{
			TagName: tag.Name, TagValue: &metricsv3.TagSpecifier_FixedValue{FixedValue: tag.Value},
		})
	}
	for _, tag := range listenerTags {
		config.StatsTags = append(config.StatsTags, &metricsv3.TagSpecifier{
			TagName: tag.Name, TagValue: &metricsv3.TagSpecifier_Regex{Regex: tag.Value},
		})
	}
	// Dashboards and canary controllers sum requests over all clusters of a pod: what the proxy does for itself is not among them.
	exclusions := &matcherv3.ListStringMatcher{}
	for _, p := range ownStreams {
		exclusions.Patterns = append(exclusions.Patterns, prefix(p))
	}
	config.StatsMatcher = &metricsv3.StatsMatcher{StatsMatcher: &metricsv3.StatsMatcher_ExclusionList{ExclusionList: exclusions}}
	b.StatsConfig = config
	if s.StatsFlushInterval > 0 {
		b.StatsFlushInterval = duration(s.StatsFlushInterval)
	}
	if address := s.Statsd.address(); address != nil {
		b.StatsSinks = []*metricsv3.StatsSink{{
			Name: "envoy.stat_sinks.dog_statsd",
			ConfigType: &metricsv3.StatsSink_TypedConfig{TypedConfig: w.any(&metricsv3.DogStatsdSink{
				DogStatsdSpecifier: &metricsv3.DogStatsdSink_Address{Address: address},
			})},
		}}
	}
}

func (s Statsd) address() *corev3.Address {
	switch {
	case s.SocketPath != "":
		return pipeAddress(s.SocketPath, 0)
	case s.Host != "":
		return socketAddress(s.Host, s.Port, corev3.SocketAddress_UDP)
	default:
		return nil
	}
}

// addTracing makes the proxy's one tracer and the cluster of its collector. The tracer has to be in the bootstrap: listeners
// refer to it without naming it, as App Mesh's did.
func (w *writer) addTracing(b *bootstrapv3.Bootstrap) {
	t := w.settings.Tracer
	var name, collector string
	var config proto.Message
	switch t.Kind {
	case Jaeger:
		name, collector = "envoy.tracers.zipkin", jaegerCluster
		zipkin := &tracev3.ZipkinConfig{
			CollectorCluster: jaegerCluster, CollectorEndpoint: "/api/v2/spans",
			CollectorEndpointVersion: tracev3.ZipkinConfig_HTTP_PROTO, SharedSpanContext: wrapperspb.Bool(false),
		}
		if t.JSON {
			zipkin.CollectorEndpointVersion = tracev3.ZipkinConfig_HTTP_JSON
		}
		config = zipkin
	case Datadog:
		name, collector = "envoy.tracers.datadog", datadogCluster
		config = &tracev3.DatadogConfig{CollectorCluster: datadogCluster, ServiceName: t.Service}
	case XRay:
		name, config = "envoy.tracers.xray", w.xray()
	default:
		return
	}
	if collector != "" {
		b.StaticResources.Clusters = append(b.StaticResources.Clusters, w.dnsCluster(collector, t.Host, t.Port, localTimeout))
	}
	b.Tracing = &tracev3.Tracing{Http: &tracev3.Tracing_Http{ //nolint:staticcheck // App Mesh's tracer is a property of the proxy, not of a listener.
		Name: name, ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: w.any(config)},
	}}
}

func (w *writer) xray() *tracev3.XRayConfig {
	t := w.settings.Tracer
	config := &tracev3.XRayConfig{
		DaemonEndpoint: socketAddress(t.Host, t.Port, corev3.SocketAddress_UDP).GetSocketAddress(),
		SegmentName:    t.Service,
		SegmentFields: &tracev3.XRayConfig_SegmentFields{
			Origin: "AWS::AppMesh::Proxy",
			Aws:    w.structure(map[string]any{"app_mesh": map[string]any{"mesh_name": t.Mesh, "virtual_node_name": t.Node}}),
		},
	}
	if t.SamplingRate != defaultXRayRate {
		// Numbers and fixed keys cannot fail to encode.
		manifest, _ := json.Marshal(map[string]any{
			"version": 2, "rules": []any{},
			"default": map[string]any{"fixed_target": 1, "rate": math.Round(t.SamplingRate*100) / 100},
		})
		config.SamplingRuleManifest = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: string(manifest)}}
	}
	return config
}

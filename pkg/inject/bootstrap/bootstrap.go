package bootstrap

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// secretFetchTimeout bounds the wait for any secret: five seconds, then what needs it fails closed by itself.
	secretFetchTimeout = 5 * time.Second
	// regexProgramSize lifts Envoy's own limit of compiled regular expressions (100) far above what we let through:
	// App Mesh allowed 1 000, and the refusal must come from us, in words, not from a proxy.
	regexProgramSize = 1_000_000
	// cancelledStreams lifts Envoy's own limit (500) of the streams of a connection of which half are reset within a second. It is meant
	// for strangers; between proxies a connection carries the requests of many clients, and ending it for the haste of one would lose
	// those of all. Gateways keep the limit.
	cancelledStreams = 1_000_000_000
	// defaultOutlierLog is App Mesh's ENVOY_OUTLIER_DETECTION_EVENT_LOG_PATH.
	defaultOutlierLog = "/dev/stdout"
)

// New writes the bootstrap for s. It fails if a required setting is missing or the result does not pass Envoy's own
// constraints; the error names the field.
func New(s Settings) (*bootstrapv3.Bootstrap, error) {
	if s.NodeID == "" {
		return nil, fmt.Errorf("node id is empty")
	}
	w := &writer{settings: s}
	// 1. Who the proxy is and where its configuration comes from.
	b := &bootstrapv3.Bootstrap{
		Node:             w.node(),
		DynamicResources: dynamicResources(s.InitialFetchTimeout),
		StaticResources:  &bootstrapv3.Bootstrap_StaticResources{Clusters: []*clusterv3.Cluster{w.controlPlane()}},
		LayeredRuntime:   w.runtime(),
		ClusterManager: &bootstrapv3.ClusterManager{
			OutlierDetection: &bootstrapv3.ClusterManager_OutlierDetection{EventLogPath: or(s.OutlierLog, defaultOutlierLog)},
		},
	}
	// 2. How people and kubelet look into it.
	w.addAdmin(b)
	w.addForwards(b)
	// 3. What it needs from the node and tells to others.
	if s.SDSSocket != "" {
		b.StaticResources.Clusters = append(b.StaticResources.Clusters, w.sdsCluster())
	}
	w.addTracing(b)
	w.addStats(b)
	if w.err != nil {
		return nil, w.err
	}
	if err := b.ValidateAll(); err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", s.NodeID, err)
	}
	return b, nil
}

// writer carries the settings and keeps the first encoding error, so that the parts read as plain literals.
type writer struct {
	settings Settings
	err      error
}

func (w *writer) any(m proto.Message) *anypb.Any {
	packed := &anypb.Any{}
	err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true})
	if err != nil && w.err == nil {
		w.err = err
	}
	return packed
}

func (w *writer) structure(fields map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(fields)
	if err != nil && w.err == nil {
		w.err = err
	}
	return s
}

func (w *writer) node() *corev3.Node {
	n := &corev3.Node{Id: w.settings.NodeID, Cluster: or(w.settings.NodeCluster, w.settings.NodeID)}
	if l := w.settings.Locality; l != (Locality{}) {
		n.Locality = &corev3.Locality{Region: l.Region, Zone: l.Zone}
	}
	if len(w.settings.Metadata) > 0 {
		facts := make(map[string]any, len(w.settings.Metadata))
		for name, value := range w.settings.Metadata {
			facts[name] = value
		}
		n.Metadata = w.structure(map[string]any{"appmesh": facts})
	}
	return n
}

func (w *writer) runtime() *bootstrapv3.LayeredRuntime {
	values := map[string]any{"re2.max_program_size.error_level": regexProgramSize}
	if !strings.Contains(w.settings.NodeID, "/virtualGateway/") {
		values["overload.premature_reset_total_stream_count"] = cancelledStreams
	}
	if n := w.settings.RequestsPerIOCycle; n > 0 {
		values["http.max_requests_per_io_cycle"] = n
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
		{Name: "static_layer_0", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: w.structure(values)}},
		{Name: "admin_layer", LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{}}},
	}}
}

// CredentialSDS is the content of the SDS file that names the token's file. It never changes in the life of a pod; Envoy
// reads it, and the token behind it, again whenever the folder changes.
func CredentialSDS(tokenPath string) string {
	type secretFile struct {
		Filename string `json:"filename"`
	}
	type generic struct {
		Secret secretFile `json:"secret"`
	}
	type secret struct {
		Type    string  `json:"@type"`
		Name    string  `json:"name"`
		Generic generic `json:"generic_secret"`
	}
	file := struct {
		Resources []secret `json:"resources"`
	}{[]secret{{
		Type: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
		Name: CredentialSecret, Generic: generic{secretFile{tokenPath}},
	}}}
	// Strings alone cannot fail to encode.
	content, _ := json.Marshal(file)
	return string(content)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// duration shortens the literals above and in the other files.
func duration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

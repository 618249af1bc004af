package bootstrap

import "time"

// Names that appear in Envoy's statistics and dumps.
const (
	// ControlPlaneCluster is the cluster of the ADS stream.
	ControlPlaneCluster = "aftermesh-xds"
	// AdminCluster and AdminListener lead from the admin port to the admin pipe.
	AdminCluster  = "aftermesh-admin"
	AdminListener = "aftermesh_admin"
	// SDSCluster is the local SDS provider (SPIRE agent). Source: App Mesh, mutual TLS with SDS.
	SDSCluster = "static_cluster_sds_unix_socket"
	// CredentialSecret is the name of the bearer token in the SDS file.
	CredentialSecret = "aftermesh_xds_token"
)

// References to variables of the container that Kubernetes replaces in its arguments. The injector defines them by the
// downward API. Their values are host names, addresses, UIDs and values of labels, which need no quoting in JSON.
const (
	PodName      = "$(AFTERMESH_POD_NAME)"
	PodNamespace = "$(AFTERMESH_POD_NAMESPACE)"
	PodUID       = "$(AFTERMESH_POD_UID)"
	PodIPs       = "$(AFTERMESH_POD_IPS)"
	NodeName     = "$(AFTERMESH_NODE_NAME)"
	HostIP       = "$(AFTERMESH_HOST_IP)"
	Region       = "$(AFTERMESH_REGION)"
	Zone         = "$(AFTERMESH_ZONE)"
)

// Settings is all that the bootstrap of one workload depends on. The zero value of a field leaves its part out unless its
// comment says otherwise.
type Settings struct {
	// NodeID is "mesh/<mesh>/virtualNode/<name>" or "mesh/<mesh>/virtualGateway/<name>". Required.
	NodeID string
	// NodeCluster is Envoy's own cluster name; empty means NodeID.
	NodeCluster string
	// Metadata goes under node.metadata.appmesh, for logs and dumps only.
	Metadata map[string]string
	// Locality is where the proxy runs. An empty text in it is the same to Envoy as none.
	Locality Locality
	// IPFamilies of the pod: "4", "6" or "46"; empty means "4".
	IPFamilies string

	ControlPlane ControlPlane
	Admin        Admin
	// InitialFetchTimeout of listeners and clusters. Zero waits indefinitely: Envoy never runs half configured.
	InitialFetchTimeout time.Duration
	// Forwards are the requests that reach the application past the listeners of its node.
	Forwards []Forward
	// SDSSocket is the path of a local SDS provider's Unix socket.
	SDSSocket string

	Tracer Tracer
	Statsd Statsd
	// Tags are the fixed tags that every statistic gets.
	Tags []Tag
	// StatsFlushInterval of statistics sinks. Zero: Envoy's 5 s.
	StatsFlushInterval time.Duration
	// OutlierLog is the file of ejection events; empty means /dev/stdout.
	OutlierLog string
	// RequestsPerIOCycle bounds the requests that one connection may start per turn. Zero: Envoy's default, no bound.
	RequestsPerIOCycle int
}

// Locality is a place in the topology of a cluster, in the words of its nodes' labels.
type Locality struct{ Region, Zone string }

// ControlPlane is where and how the ADS stream is opened.
type ControlPlane struct {
	// Host is a host name, best fully qualified with a trailing dot so that no search domain is tried, or an address.
	Host string
	Port uint16
	// ServerName is the DNS name that the server's certificate must carry.
	ServerName string
	// CA holds the root certificates of that certificate in PEM.
	CA string
	// CredentialDir is the folder whose change says that the token was rotated: the mount of a projected volume.
	CredentialDir string
	// CredentialFile is the SDS file (see CredentialSDS) in that folder.
	CredentialFile string
}

// Admin is how the admin interface is reached.
type Admin struct {
	// Port in the pod, 9901 in App Mesh. Zero: no port, the pipe only.
	Port uint16
	// Pipe is the path of the Unix socket.
	Pipe string
	// Open puts the plain admin interface on Port, for everybody, as App Mesh did.
	Open bool
	// ReadyOnly leaves nothing on Port but /ready, for kubelet; the rest is on the pipe alone.
	ReadyOnly bool
}

// TracerKind names a tracing system.
type TracerKind string

// The tracing systems of App Mesh. The empty kind means none.
const (
	Jaeger  TracerKind = "jaeger"
	Datadog TracerKind = "datadog"
	XRay    TracerKind = "x-ray"
)

// Tracer is where spans go. It must be known at start because Envoy creates its tracer once.
type Tracer struct {
	Kind TracerKind
	// Host and Port of the collector; for X-Ray the daemon's UDP address.
	Host string
	Port uint16
	// JSON makes Jaeger's collector receive JSON instead of protobuf.
	JSON bool
	// Service is the name of the workload in traces: Datadog's service, X-Ray's segment.
	Service string
	// Mesh and Node name the workload in X-Ray segments.
	Mesh, Node string
	// SamplingRate of X-Ray between 0 and 1; 0.05 is X-Ray's own default.
	SamplingRate float64
}

// Statsd is a DogStatsD sink. SocketPath wins over Host and Port.
type Statsd struct {
	// Host is an IP address or HostIP: Envoy does not resolve names here.
	Host       string
	Port       uint16
	SocketPath string
}

// Tag is a fixed tag of every statistic.
type Tag struct{ Name, Value string }

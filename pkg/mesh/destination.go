package mesh

import "time"

// Destination is where connections go: one port of a workload or of a host outside, as its callers see it, or something in the pod itself.
type Destination struct {
	// Cluster is the name of the Envoy cluster.
	Cluster string
	// Object is empty for what belongs to no user's object other than the workload's own.
	Object   Object
	Port     uint32
	Protocol Protocol
	// One of these says where the addresses come from: Endpoints are known here, DNS is resolved by the proxy, Local is in the pod,
	// Inspector is the socket of that name in the workload, and Original is where the connection wanted to go. None of them closes
	// every connection.
	Endpoints *Endpoints `hash:"-"`
	DNS       *DNS
	Local     *Local
	Inspector string
	Original  bool
	// Pool bounds what one proxy sends.
	Pool    Pool
	Health  *HealthCheck
	Outlier *Outlier
	// HealthHost is the host header of health checks.
	HealthHost string
	// IPPreference of the mesh.
	IPPreference IPPreference
	// TLS is nil for clear text. Plain excepts the endpoints that are marked so.
	TLS   *ClientTLS
	Plain bool
	// HTTP is how callers speak HTTP to it, KeepAlive how their silent connections are probed; nil leaves probes out.
	HTTP      HTTPOptions
	KeepAlive *KeepAlive
	// Fingerprint covers everything but the endpoints.
	Fingerprint Hash `hash:"-"`
}

// DNS leaves resolution to Envoy.
type DNS struct {
	Host string
	Port uint32
	// All uses every address as an endpoint; otherwise one address at a time is used.
	All bool
}

// Local is a port of the pod. Address is where the application listens; it is empty for a listener of the proxy itself.
type Local struct {
	Address string
	Port    uint32
}

// Endpoints are the ready addresses of a destination, sorted. Empty means that nobody answers: 503.
type Endpoints struct {
	List        []Endpoint
	Fingerprint Hash `hash:"-"`
}

// Endpoint is one address with its port. Zone is empty when the node's zone is unknown.
type Endpoint struct {
	Address string
	Port    uint32
	Zone    string
	// Plain is true where TLS would not reach the proxy of the pod; Destination says whether callers use clear text then.
	Plain bool
}

// HealthCheck is an active check that callers run. Protocol TCP only connects.
type HealthCheck struct {
	Protocol           Protocol
	Path               string
	Port               uint32
	Interval, Timeout  time.Duration
	Healthy, Unhealthy uint32
}

// Outlier ejects hosts that fail.
type Outlier struct {
	MaxServerErrors        uint32
	Interval, BaseEjection time.Duration
	MaxEjectionPercent     uint32
}

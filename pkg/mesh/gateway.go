package mesh

// Gateway is what a workload that lets requests into the mesh does with them, in two hops: an entrance chooses the service by host
// and gateway route, then the routes of that service choose the destination.
type Gateway struct {
	// Entrances belong to the workload's listeners, in the same order.
	Entrances []*Entrance
	// Protocol names the second hop: that of the first listener.
	Protocol Protocol
	// TrustedHops is how many proxies in front of the gateway are believed: what they say of the client's address and protocol counts.
	TrustedHops uint32
	// Services are what the entrances lead to, oldest first; no service twice.
	Services []*GatewayService
}

// Entrance is the first hop of one listener.
type Entrance struct {
	Port     uint32
	Protocol Protocol
	// Hosts are matched from the most specific to the least, as Envoy does; a request of another host gets a 404.
	Hosts []*GatewayHost
}

// GatewayHost holds all routes that a request of one of its domains can take, in the order in which they are tried: Envoy never goes
// on to a less specific host.
type GatewayHost struct {
	// Domains are exact names, "*suffix" or "*". The last one stands alone, or behind others that have the same routes.
	Domains []string
	// Shared is true when the routes of all hosts stand in one list, because a list per host would repeat too many of them. Each route
	// then compares the host itself, with its own Domains.
	Shared bool
	Routes []*GatewayRoute
}

// GatewayRoute leads the requests that Match describes to Service.
type GatewayRoute struct {
	Name     string
	Object   Object
	Priority int
	// Domains are the hosts that the route is for, as those of a GatewayHost; none for all.
	Domains []string
	Match   Match
	// Prefix and Path rewrite: at most one is set. Prefix replaces the prefix that was matched, Path all of the path but the query.
	Prefix, Path string
	Service      *Service
	// KeepHost leaves the request's host as it came; otherwise it becomes the service's name.
	KeepHost bool
	// TargetPort is the port of a service that has several; 0 otherwise.
	TargetPort uint32
	Timeout    Timeout
	// Fingerprint covers the route and, by its fingerprint, the service.
	Fingerprint Hash `hash:"-"`
}

// GatewayService is the second hop of one service.
type GatewayService struct {
	Service *Service
	// ByHeader is true when a route leads here without changing the host.
	ByHeader bool
	// Routes of all its HTTP ports in the order in which they are tried. The service's fingerprint covers them.
	Routes []GatewayServiceRoute `hash:"-"`
}

// GatewayServiceRoute is one route of a service. Port is set when the service has several.
type GatewayServiceRoute struct {
	Port  uint32
	Route *Route
}

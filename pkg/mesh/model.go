package mesh

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Protocol is what is spoken on a port, in App Mesh's words.
type Protocol string

// The four protocols that App Mesh knows.
const (
	HTTP  Protocol = "http"
	HTTP2 Protocol = "http2"
	GRPC  Protocol = "grpc"
	TCP   Protocol = "tcp"
)

// IsHTTP is true for the three protocols that Envoy routes by request.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC }

// Model is everything one compile pass decided. All slices are sorted and nothing is modified after Compile returned.
type Model struct {
	// Workloads are sorted by ID.
	Workloads []*Workload
	// Groups are the sets of proxies that get one configuration, sorted by ID.
	Groups []*Group
	// Proxies are the injected pods that belong to a group, sorted by ID; in standalone mode there are none.
	Proxies []Proxy
	// Names are those that no cluster DNS knows and that the operator's own answers, sorted by name.
	Names []Name
	// Members maps the id of a proxy (a pod's UID, in standalone mode its node id) to the ID of its group.
	Members map[string]string

	dependents struct {
		once sync.Once
		of   map[Object][]*Group
	}
}

// Dependents returns the groups whose configuration is made from o, sorted by ID. It is what "n proxies" in a status counts.
func (m *Model) Dependents(o Object) []*Group {
	m.dependents.once.Do(func() {
		of := map[Object][]*Group{}
		for _, g := range m.Groups {
			g.Workload.eachSource(func(s Object) {
				// Groups come one after the other, so a repetition can only be the last entry.
				if had := of[s]; len(had) == 0 || had[len(had)-1] != g {
					of[s] = append(had, g)
				}
			})
		}
		m.dependents.of = of
	})
	return m.dependents.of[o]
}

// Name is a name that the operator's DNS server answers.
type Name struct {
	// Name is in lower case and has no dot at its end. Zone is the part of it for which the server is authoritative, the whole name
	// where it stands alone.
	Name, Zone string
	// Object owns the name.
	Object Object
	// Addresses are what the name resolves to; none while nobody answers.
	Addresses []string
}

// Proxy is one injected pod.
type Proxy struct {
	// ID is the pod's UID.
	ID, Namespace, Name string
	Group               string
	// Counted is true while the pod runs and is not terminating: such pods are the n of "m of n proxies".
	Counted bool
}

// Group is a workload and the facts about its pods that shape configuration. All its proxies get the same resources.
type Group struct {
	ID       string
	Workload *Workload
	Profile  Profile
}

// Profile is the part of a pod's injection that may shape configuration. It is comparable; adding a field is a decision.
type Profile struct {
	// IPv4 and IPv6 say which address families the pod has.
	IPv4, IPv6 bool
	// SDS is true when the pod mounts the socket of a local SDS provider.
	SDS bool
	// MetricExtension is true when per-route statistics were asked for.
	MetricExtension bool
	// Draining is true while the pod is terminating: its proxy ends inbound HTTP connections, each at its next response.
	Draining bool
}

// WorkloadID identifies a workload by App Mesh's names.
type WorkloadID struct {
	Mesh    string
	Gateway bool
	Name    string
}

// String returns the node id that App Mesh's proxies carry: mesh/<mesh>/virtualNode/<name> or …/virtualGateway/<name>.
func (id WorkloadID) String() string {
	kind := "virtualNode"
	if id.Gateway {
		kind = "virtualGateway"
	}
	return "mesh/" + id.Mesh + "/" + kind + "/" + id.Name
}

// ParseWorkloadID reads what String returned. What follows an @ in the mesh, which was its owner's account, is cut off.
func ParseWorkloadID(s string) (WorkloadID, bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 4 || parts[0] != "mesh" || parts[1] == "" || parts[3] == "" || parts[2] != "virtualNode" && parts[2] != "virtualGateway" {
		return WorkloadID{}, false
	}
	name, _, _ := strings.Cut(parts[1], "@")
	return WorkloadID{Mesh: name, Gateway: parts[2] == "virtualGateway", Name: parts[3]}, true
}

// Workload is what stands behind one VirtualNode or VirtualGateway: pods with the same listeners and backends.
type Workload struct {
	ID     WorkloadID
	Object Object
	// Inbound take what is sent to the workload, Outbound what its own applications send, in the order in which they were written or
	// by port. The front-end decides all their names.
	Inbound, Outbound []*Listener
	// Inspector is the address of a socket in the pod at which its proxies look at the first bytes of connections; see Chain. It is
	// empty where no listener needs it.
	Inspector string
	// Destinations are what its proxies have clusters for: those of all targets of its listeners and of all that its backends lead to,
	// in the order of first use; no cluster twice.
	Destinations []*Destination `hash:"-"`
	// Backends are the services its proxies may call, sorted by name; no service twice.
	Backends []Backend
	Egress   Egress
	// AccessLog is nil when no log is written.
	AccessLog *AccessLog
	// HTTP is how its proxies speak HTTP on every listener.
	HTTP HTTPOptions
	// Also are the objects beside its services' that took part in choosing its backends: backend groups, gateway routes.
	Also []Object `hash:"-"`
	// Fingerprint covers everything of the workload, its routes, services and destinations but no endpoints.
	Fingerprint Hash `hash:"-"`
}

// Sources returns every object that the workload's configuration is made from, without duplicates, sorted.
func (w *Workload) Sources() []Object {
	var all []Object
	w.eachSource(func(o Object) { all = append(all, o) })
	slices.SortFunc(all, Object.Compare)
	return slices.Compact(all)
}

// eachSource calls f for every object that the workload's configuration is made from, for some more than once.
func (w *Workload) eachSource(f func(Object)) {
	f(w.Object)
	for _, o := range w.Also {
		f(o)
	}
	for _, b := range w.Backends {
		for _, o := range b.Service.Sources {
			f(o)
		}
	}
}

// IPPreference is the family preference of a mesh. Source: App Mesh API, MeshServiceDiscovery.
type IPPreference string

// The values of IPPreference; the empty one means that the mesh has none.
const (
	IPv4Only      IPPreference = "IPv4_ONLY"
	IPv6Only      IPPreference = "IPv6_ONLY"
	IPv4Preferred IPPreference = "IPv4_PREFERRED"
	IPv6Preferred IPPreference = "IPv6_PREFERRED"
)

// Egress says what happens to connections whose destination the mesh does not model.
type Egress struct {
	// AllowAll passes them through to where they wanted to go; otherwise they are closed.
	AllowAll bool
	// Exempt lists the TLS server names on port 443 that pass in any case, for example "*.amazonaws.com".
	Exempt []string
}

// Timeout bounds requests. A nil member means that nothing was said; zero switches the limit off.
type Timeout struct {
	PerRequest, Idle *time.Duration
}

// Pool holds upper bounds; 0 means unlimited (App Mesh: 2147483647).
type Pool struct {
	MaxConnections, MaxPendingRequests, MaxRequests uint32
}

// AccessLog is one file sink. At most one of Text and JSON is given; neither means Envoy's default format.
type AccessLog struct {
	Path string
	Text string
	JSON []LogField
}

// LogField is one key of a JSON access log.
type LogField struct{ Key, Value string }

// Backend is a service that a workload may call.
type Backend struct {
	Service *Service
}

// Service is a name that clients call, with the ports it answers on. A service without a provider has none.
type Service struct {
	// Name is the host that clients put in the request, App Mesh's awsName of the VirtualService.
	Name   string
	Object Object
	// Created orders services that compete for one name or port: the oldest wins.
	Created time.Time
	Ports   []*ServicePort
	// Addresses are the cluster IPs of the Kubernetes Service behind the name, if there is one. Headless says that it has none, so
	// that clients dial its pods.
	Addresses []string
	Headless  bool
	// Resolved are the addresses that the operator's DNS server answers for the name; none where the name is not its business. They
	// count in the ports of the workloads that may call the service.
	Resolved []string `hash:"-"`
	// Sources are all objects that the service is made from: itself, router, routes, nodes.
	Sources []Object
	// Size is about how many bytes of configuration the service costs a caller.
	Size int `hash:"-"`
	// Fingerprint covers the service with its routes and the names of its clusters.
	Fingerprint Hash `hash:"-"`
}

// ServicePort is one port that clients dial.
type ServicePort struct {
	Port     uint32
	Protocol Protocol
	// Routes are in the order in which they are tried. Empty means that every request gets a 404.
	Routes []*Route
	// Host is what the requests of callers meet, the same for all of them; nil for TCP and where nobody calls the port. The service's
	// fingerprint covers it.
	Host *Host `hash:"-"`
}

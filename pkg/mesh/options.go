package mesh

import "time"

// HTTPOptions say how proxies speak HTTP, beside the routes. The zero value is the default of a mesh: what App Mesh did, and
// HTTP/1.0 is served. They are the options of a whole mesh today; each is read at a workload or a destination, so that a policy
// may set it for one of these.
type HTTPOptions struct {
	// KeepHeaderCase writes names of headers as they were received; it holds as far as every hop speaks HTTP/1.
	KeepHeaderCase bool
	// PassServerHeader leaves the application's Server header alone, which is replaced by "envoy" otherwise.
	PassServerHeader bool
	// RefuseHTTP10 answers requests of HTTP/1.0 by 426.
	RefuseHTTP10 bool
	// MaxHeaderKiB and MaxHeaders bound the headers of a request or response as a whole: their size and number.
	// 0 is Envoy's default, 60 KiB and 100.
	MaxHeaderKiB, MaxHeaders uint32
}

// KeepAlive makes the kernel probe silent TCP connections, so that what keeps state of them on the way (NAT, load balancers)
// does not forget them. All three are positive.
type KeepAlive struct {
	// Idle is the silence before the first probe, Interval the time between probes.
	Idle, Interval time.Duration
	// Probes without an answer close the connection.
	Probes uint32
}

package inject

import (
	"cmp"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// Paths inside Envoy's container.
const (
	// runPath is the folder of the admin pipe and tempPath that for temporary files, both on the volume "aftermesh".
	runPath  = "/var/run/aftermesh"
	tempPath = "/tmp"
	// credentialPath is where kubelet keeps the token and the SDS file that names it, on the volume "aftermesh-xds".
	credentialPath = "/var/run/aftermesh-xds"
)

// defaultConcurrency is the count of Envoy's workers in a pod without CPU limit.
const defaultConcurrency = 2

// tuning is what Envoy's own start takes from operator settings, annotations and the user's variables.
type tuning struct {
	settings    bootstrap.Settings
	concurrency int
	logLevel    string
	// files is true when variables name files that must be merged into the bootstrap, which only the pod can do.
	files bool
}

// tune works out the bootstrap for a pod. user are the variables that App Mesh's image understood; a value that it would
// have refused at start is a Denial here.
func tune(pod *corev1.Pod, t Target, c Config, r request, user map[string]string, limits corev1.ResourceList, report *Report) (tuning, error) {
	s := bootstrap.Settings{
		NodeID: t.nodeID(c.AccountID),
		Metadata: map[string]string{
			"pod": bootstrap.PodName, "namespace": bootstrap.PodNamespace, "podUid": bootstrap.PodUID,
			"podIPs": bootstrap.PodIPs, "nodeName": bootstrap.NodeName, "controllerVersion": c.Version,
		},
		Locality:     bootstrap.Locality{Region: bootstrap.Region, Zone: bootstrap.Zone},
		IPFamilies:   c.IPFamilies,
		ControlPlane: controlPlane(pod, c),
		Admin:        bootstrap.Admin{Port: c.AdminPort, Pipe: runPath + "/admin.sock", Open: c.AdminOpen},
	}
	if r.sds {
		s.SDSSocket = c.SDSPath
	}
	if c.StatsTags {
		s.Tags = fixedTags(t)
	}
	if c.Statsd.Enabled {
		s.Statsd = bootstrap.Statsd{Host: hostIP(c.Statsd.Address), Port: c.Statsd.Port, SocketPath: c.Statsd.SocketPath}
	}
	out := tuning{settings: s, concurrency: workers(limits), logLevel: logLevel(c.LogLevel)}
	reader := userReader{env: user, report: report}
	out.settings.Tracer = reader.tracer(t, c)
	reader.apply(&out)
	out.concurrency = cmp.Or(r.concurrency, out.concurrency)
	return out, reader.err
}

func controlPlane(pod *corev1.Pod, c Config) bootstrap.ControlPlane {
	p := bootstrap.ControlPlane{
		Host: c.ControlPlane.Host, Port: c.ControlPlane.Port, ServerName: c.ControlPlane.ServerName, CA: c.ControlPlane.CA,
		CredentialDir: credentialPath, CredentialFile: credentialPath + "/" + credentialFile,
	}
	// Such pods ask the node's resolver, which does not know names of the cluster.
	if policy := pod.Spec.DNSPolicy; policy == corev1.DNSDefault || policy == corev1.DNSNone ||
		pod.Spec.HostNetwork && policy != corev1.DNSClusterFirstWithHostNet {
		if c.ControlPlane.ClusterIP != "" {
			p.Host = c.ControlPlane.ClusterIP
		}
	}
	return p
}

// fixedTags are App Mesh's ENABLE_ENVOY_STATS_TAGS.
func fixedTags(t Target) []bootstrap.Tag {
	tags := []bootstrap.Tag{{Name: "appmesh.mesh", Value: meshv1beta2.EffectiveName(t.Mesh)}}
	if t.Gateway != nil {
		return append(tags, bootstrap.Tag{Name: "appmesh.virtual_gateway", Value: meshv1beta2.EffectiveName(t.Gateway)})
	}
	return append(tags, bootstrap.Tag{Name: "appmesh.virtual_node", Value: meshv1beta2.EffectiveName(t.Node)})
}

// hostIP replaces the setting's word for the node's address by the bootstrap's.
func hostIP(address string) string {
	if address == hostIPReference {
		return bootstrap.HostIP
	}
	return address
}

// workers is the CPU limit rounded up, at least one; two without a limit, because Envoy's own default is the node's size.
func workers(limits corev1.ResourceList) int {
	limit, ok := limits[corev1.ResourceCPU]
	if !ok {
		return defaultConcurrency
	}
	return max(1, int(math.Ceil(limit.AsApproximateFloat64())))
}

// logLevel accepts what Envoy accepts; anything else is "info", as App Mesh's image had it.
func logLevel(level string) string {
	switch level = strings.ToLower(level); level {
	case "trace", "debug", "info", "warning", "warn", "error", "critical", "off":
		return level
	default:
		return "info"
	}
}

// userReader reads the variables of App Mesh's image that users set, and keeps the first mistake.
type userReader struct {
	env    map[string]string
	report *Report
	err    error
}

// number reads a whole number from min up; def when the variable is not set.
func (u *userReader) number(name string, minimum, def int) int {
	text, ok := u.env[name]
	if !ok || text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < minimum {
		u.fail(deny("the variable %s has the value %q, expected a whole number from %d up", name, text, minimum))
		return def
	}
	return n
}

// span reads a duration: seconds as a number, or with a unit as Go writes it.
func (u *userReader) span(name string) time.Duration {
	text, ok := u.env[name]
	if !ok || text == "" {
		return 0
	}
	if _, err := strconv.Atoi(text); err == nil {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		u.fail(deny("the variable %s has the value %q, expected seconds or a duration such as 500ms", name, u.env[name]))
	}
	return d
}

func (u *userReader) fail(err error) {
	if u.err == nil {
		u.err = err
	}
}

// apply lets the user's variables override the settings.
func (u *userReader) apply(t *tuning) {
	s := &t.settings
	t.concurrency = u.number("ENVOY_CONCURRENCY", 1, t.concurrency)
	s.InitialFetchTimeout = u.span("ENVOY_INITIAL_FETCH_TIMEOUT")
	s.StatsFlushInterval = u.span("ENVOY_STATS_FLUSH_INTERVAL")
	s.OutlierLog = u.env["ENVOY_OUTLIER_DETECTION_EVENT_LOG_PATH"]
	s.RequestsPerIOCycle = u.number("MAX_REQUESTS_PER_IO_CYCLE", 1, 0)
	for _, name := range []string{"APPMESH_VIRTUAL_NODE_CLUSTER", "APPMESH_RESOURCE_CLUSTER"} {
		if value := u.env[name]; value != "" {
			s.NodeCluster = value
		}
	}
	if endpoint := u.env["APPMESH_XDS_ENDPOINT"]; endpoint != "" {
		u.endpoint(s, endpoint)
	}
	switch mode := u.env["ENVOY_ADMIN_MODE"]; mode {
	case "", "tcp":
	case "uds":
		s.Admin.ReadyOnly = true
	default:
		u.fail(deny("the variable ENVOY_ADMIN_MODE has the value %q, expected tcp or uds", mode))
	}
	u.files(t)
}

// files leaves out what the user's files stand for.
func (u *userReader) files(t *tuning) {
	for _, name := range bootstrap.FileVariables {
		if u.env[name] == "" {
			continue
		}
		t.files = true
		switch name {
		case bootstrap.TracingFile:
			t.settings.Tracer = bootstrap.Tracer{}
		case bootstrap.StatsSinksFile:
			t.settings.Statsd = bootstrap.Statsd{}
		}
	}
}

// endpoint lets a pod use another address of the control plane. AWS's own addresses, which old manifests carry, have none.
func (u *userReader) endpoint(s *bootstrap.Settings, endpoint string) {
	host, port, err := net.SplitHostPort(endpoint)
	number, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || number == 0 || host == "" {
		u.fail(deny("the variable APPMESH_XDS_ENDPOINT has the value %q, expected host:port", endpoint))
		return
	}
	if strings.Contains(host, ".amazonaws.com") {
		u.report.warn("the variable APPMESH_XDS_ENDPOINT names AWS (%s) and has no effect", host)
		return
	}
	s.ControlPlane.Host, s.ControlPlane.Port = host, uint16(number)
}

func (u *userReader) tracer(t Target, c Config) bootstrap.Tracer {
	if c.Tracing.Kind == "" {
		return bootstrap.Tracer{}
	}
	mesh, name := meshv1beta2.EffectiveName(t.Mesh), ""
	if t.Gateway != nil {
		name = meshv1beta2.EffectiveName(t.Gateway)
	} else {
		name = meshv1beta2.EffectiveName(t.Node)
	}
	tracer := bootstrap.Tracer{
		Kind: c.Tracing.Kind, Host: hostIP(c.Tracing.Address), Port: c.Tracing.Port,
		JSON: strings.Contains(strings.ToUpper(u.env["JAEGER_TRACER_VERSION"]), "JSON"),
		Mesh: mesh, Node: name,
	}
	switch c.Tracing.Kind {
	case bootstrap.Datadog:
		if tracer.Service = u.env["DD_SERVICE"]; tracer.Service == "" {
			tracer.Service = "envoy-" + mesh + "/" + name
		}
	case bootstrap.XRay:
		if tracer.Service = u.env["XRAY_SEGMENT_NAME"]; tracer.Service == "" {
			tracer.Service = mesh + "/" + name
		}
		rate, err := xrayRate(c, u.env)
		if err != nil {
			u.fail(err)
			return tracer
		}
		// xrayRate returns only what parses.
		tracer.SamplingRate, _ = strconv.ParseFloat(rate, 64)
	}
	return tracer
}

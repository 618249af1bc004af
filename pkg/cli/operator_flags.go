package cli

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
)

// operatorFlags are the operator's options with the flags that need a word more than their value.
type operatorFlags struct {
	controllers.Options
	logLevel   string
	repository string
	tag        string
	tracers    []*tracer
}

// tracer is one tracing system as flags describe it.
type tracer struct {
	kind    bootstrap.TracerKind
	on      bool
	address string
	port    uint16
}

func newOperatorFlags() *operatorFlags {
	o := &operatorFlags{Options: controllers.Options{
		Version: Version, Service: "aftermesh", Inject: inject.Defaults(), TLSMinVersion: tls.VersionTLS12,
		HealthPort: 61779, XDSPort: 15010, PeerPort: 15011, WebhookPort: 9443, DNSPort: 1053, AdminPort: 15014,
	}}
	o.repository, o.tag = splitImage(o.Inject.SidecarImage)
	return o
}

// add declares every flag of the App Mesh controller and ours. Source of names and defaults: App Mesh controller, chart 1.13.3.
func (o *operatorFlags) add(f *pflag.FlagSet) {
	o.addProcess(f)
	o.addSidecar(f)
	o.addTelemetry(f)
	addIgnored(f)
}

func (o *operatorFlags) addProcess(f *pflag.FlagSet) {
	f.StringVar(&o.logLevel, "log-level", "info", "debug for one line per pass, a number for more, anything else is info")
	f.StringVar(&o.MetricsAddr, "metrics-addr", "0.0.0.0:8080", "where metrics are served")
	portVar(f, &o.HealthPort, "health-probe-port", "port of /healthz and /readyz")
	f.BoolVar(&o.LeaderElection, "enable-leader-election", false, "let one of several replicas write statuses")
	f.DurationVar(&o.SyncPeriod, "sync-period", 10*time.Hour, "how often informers replay everything")
	f.Var((*tlsVersion)(&o.TLSMinVersion), "tls-min-version", "lowest TLS version of the webhooks: VersionTLS12 or VersionTLS13")
	f.Var((*cipherSuites)(&o.TLSCipherSuites), "tls-cipher-suite", "comma-separated Go names of the webhooks' cipher suites; empty for Go's own choice")
	f.StringVar(&o.ARN.Region, "aws-region", "", "region in synthetic resource names")
	f.Var((*account)(&o.ARN.Account), "aws-account-id", "account in synthetic resource names")
	f.BoolVar(&o.BackendGroups, "enable-backend-groups", false, "let backend groups have an effect")
	f.StringVar(&o.ClusterDomain, "cluster-domain", "cluster.local", "DNS suffix of the cluster's Services")
	f.StringSliceVar(&o.EgressExempt, "egress-exempt", defaultExempt, "TLS server names on port 443 that pass the egress filter DROP_ALL")
	portVar(f, &o.XDSPort, "xds-port", "port of xDS (TLS)")
	portVar(f, &o.PeerPort, "peer-port", "port for the other replicas (mutual TLS)")
	portVar(f, &o.WebhookPort, "webhook-port", "port of the admission webhooks")
	f.DurationVar(&o.ShutdownDelay, "shutdown-delay-duration", 5*time.Second, "how long to go on serving after the signal to end, until every node knows")
	portVar(f, &o.DNSPort, "dns-port", "port of the DNS server, UDP and TCP")
	portVar(f, &o.AdminPort, "admin-port", "port of the admin API, on loopback")
	f.DurationVar(&o.Inject.ControlPlane.TokenExpiration, "proxy-token-expiration", time.Hour, "life of the proxies' tokens")
}

func (o *operatorFlags) addSidecar(f *pflag.FlagSet) {
	c := &o.Inject
	f.StringVar(&o.repository, "sidecar-image-repository", o.repository, "image of Envoy")
	f.StringVar(&o.tag, "sidecar-image-tag", o.tag, "tag of Envoy's image")
	f.StringVar(&c.Resources.CPURequest, "sidecar-cpu-requests", c.Resources.CPURequest, "CPU request of the sidecar; empty for none")
	f.StringVar(&c.Resources.MemoryRequest, "sidecar-memory-requests", c.Resources.MemoryRequest, "memory request of the sidecar; empty for none")
	f.StringVar(&c.Resources.CPULimit, "sidecar-cpu-limits", "", "CPU limit of the sidecar")
	f.StringVar(&c.Resources.MemoryLimit, "sidecar-memory-limits", "", "memory limit of the sidecar")
	f.StringVar(&c.LogLevel, "sidecar-log-level", c.LogLevel, "log level of Envoy")
	portVar(f, &c.AdminPort, "envoy-admin-access-port", "admin port of Envoy")
	f.StringVar(&c.AdminLogFile, "envoy-admin-access-log-file", c.AdminLogFile, "admin access log of Envoy")
	f.BoolVar(&c.AdminIPv6, "envoy-admin-access-enable-ipv6", false, "listen on IPv6 at the admin port too")
	f.BoolVar(&c.AdminOpen, "envoy-admin-open", false, "let everybody in the cluster do everything at Envoy's admin port, as App Mesh did")
	f.Var((*seconds)(&c.PreStopDelay), "prestop-delay", "seconds that Envoy serves on at least when its pod stops; not in Jobs")
	f.Var((*seconds)(&c.PostStartTimeout), "poststart-timeout", "seconds that applications wait for Envoy's first configuration")
	f.BoolVar(&c.WaitUntilProxyReady, "wait-until-proxy-ready", false, "let applications wait for Envoy also where it is an ordinary container")
	f.Var((*seconds)(&c.ReadinessInitialDelay), "readiness-probe-initial-delay", "initial delay of Envoy's readiness probe, in seconds")
	f.Var((*seconds)(&c.ReadinessPeriod), "readiness-probe-period", "period of Envoy's readiness probe, in seconds")
	f.BoolVar(&c.NativeSidecar, "native-sidecar", c.NativeSidecar, "inject Envoy as a native sidecar (Kubernetes 1.29 and later)")
	f.StringVar(&c.InitImage, "init-image", "", "image of the redirect step; empty for the operator's own")
	f.BoolVar(&c.CNI, "cni", false, "leave redirection to the CNI plugin in pods that do not say otherwise (kubectl apply -k config/cni)")
	f.StringVar(&c.IgnoredIPs, "ignored-ips", c.IgnoredIPs, "destinations that are not redirected")
	f.BoolVar(&c.FSGroup, "enable-iam-for-service-accounts", c.FSGroup, "give pods the group 1337 unless they have one")
	f.BoolVar(&c.PullSecret, "enable-ecr-secret", false, "add the image pull secret appmesh-ecr-secret")
	f.BoolVar(&c.SDS, "enable-sds", false, "mount the socket of a local SDS provider")
	f.StringVar(&c.SDSPath, "sds-uds-path", c.SDSPath, "path of that socket")
	f.BoolVar(&c.Preview, "preview", false, "set the variable APPMESH_PREVIEW of Envoy's container")
	f.BoolVar(&c.DualStackEndpoint, "dual-stack-endpoint", false, "set the variable APPMESH_DUALSTACK_ENDPOINT of Envoy's container")
	f.BoolVar(&c.FIPSEndpoint, "fips-endpoint", false, "set the variable APPMESH_FIPS_ENDPOINT of Envoy's container")
}

func (o *operatorFlags) addTelemetry(f *pflag.FlagSet) {
	c := &o.Inject
	f.BoolVar(&c.StatsTags, "enable-stats-tags", false, "tag statistics with mesh and node")
	f.BoolVar(&c.Statsd.Enabled, "enable-statsd", false, "send statistics to DogStatsD")
	f.StringVar(&c.Statsd.Address, "statsd-address", c.Statsd.Address, "address of DogStatsD, or ref:status.hostIP")
	portVar(f, &c.Statsd.Port, "statsd-port", "port of DogStatsD")
	f.StringVar(&c.Statsd.SocketPath, "statsd-socket-path", "", "socket of DogStatsD")
	for _, kind := range []bootstrap.TracerKind{bootstrap.Jaeger, bootstrap.Datadog} {
		t, name := o.tracer(kind), string(kind)
		f.BoolVar(&t.on, "enable-"+name+"-tracing", false, "send traces to "+name)
		f.StringVar(&t.address, name+"-address", t.address, "address of "+name+", or ref:status.hostIP")
		portVar(f, &t.port, name+"-port", "port of "+name)
	}
	xray := o.tracer(bootstrap.XRay)
	f.BoolVar(&xray.on, "enable-xray-tracing", false, "send traces to X-Ray by its daemon")
	portVar(f, &xray.port, "xray-daemon-port", "port of the X-Ray daemon")
	f.StringVar(&c.Tracing.XRay.SamplingRate, "xray-sampling-rate", c.Tracing.XRay.SamplingRate, "share of requests that X-Ray samples, 0 to 1")
	f.StringVar(&c.Tracing.XRay.LogLevel, "xray-log-level", c.Tracing.XRay.LogLevel, "log level of the X-Ray daemon")
	f.StringVar(&c.Tracing.XRay.RoleARN, "xray-config-roleArn", "", "role of the X-Ray daemon")
	f.StringVar(&c.Tracing.XRay.Image, "xray-image", c.Tracing.XRay.Image, "image of the X-Ray daemon")
}

// noEffect is the help of flags that are only accepted.
const noEffect = "accepted without effect"

// addIgnored declares the flags that have no meaning without AWS, so that old charts and manifests go on working. The keys of
// envoy-aws-… are among them on purpose: they would stand in every pod's specification, and stock Envoy has no use for them.
func addIgnored(f *pflag.FlagSet) {
	for _, name := range []string{
		"cluster-name", "aws-api-throttle", "page-limit", "cloudmap-dns-ttl", "poststart-interval",
		"envoy-aws-access-key-id", "envoy-aws-secret-access-key", "envoy-aws-session-token",
	} {
		f.String(name, "", noEffect)
	}
	for _, name := range []string{"use-aws-fips-endpoint", "use-aws-dual-stack-endpoint", "enable-custom-health-check"} {
		f.Bool(name, false, noEffect)
	}
}

func splitImage(image string) (repository, tag string) {
	i := strings.LastIndex(image, ":")
	return image[:i], image[i+1:]
}

// tracer adds a tracing system with its defaults.
func (o *operatorFlags) tracer(kind bootstrap.TracerKind) *tracer {
	t := &tracer{kind: kind}
	t.address, t.port = inject.TracingDefaults(kind)
	o.tracers = append(o.tracers, t)
	return t
}

// complete fills in the options that follow from several flags, and says which flags have no effect.
func (o *operatorFlags) complete(f *pflag.FlagSet, log logr.Logger) error {
	c := &o.Inject
	c.SidecarImage = o.repository + ":" + o.tag
	c.Region, c.AccountID = o.ARN.Region, o.ARN.Account
	c.ControlPlane.Host, c.ControlPlane.Port = "aftermesh.aftermesh-system.svc."+o.ClusterDomain+".", o.XDSPort
	o.ServiceDomain = o.ClusterDomain
	var err error
	for _, t := range o.tracers {
		switch {
		case !t.on:
		case c.Tracing.Kind != "":
			err = errors.New("only one of --enable-xray-tracing, --enable-jaeger-tracing and --enable-datadog-tracing may be given")
		default:
			c.Tracing.Kind, c.Tracing.Address, c.Tracing.Port = t.kind, t.address, t.port
		}
	}
	f.Visit(func(fl *pflag.Flag) {
		if fl.Usage == noEffect && fl.Value.String() != fl.DefValue {
			log.Info("Flag has no effect", "name", fl.Name)
		}
	})
	o.Environment()
	return err
}

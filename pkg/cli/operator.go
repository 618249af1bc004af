package cli

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

func newOperator() *cobra.Command {
	o := newOperatorFlags()
	c := &cobra.Command{
		Use:   "operator",
		Short: "Run the control plane in a cluster",
		Long: `Runs the manager: webhooks, xDS, statuses, metrics. It expects to run in a pod of the namespace aftermesh-system.
All flags of the App Mesh controller are accepted; those that only made sense with AWS have no effect.`,
		Example: `  aftermesh operator --log-level=debug`,
		Args:    atMost(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := newLogger(o.logLevel)
			if err != nil {
				return err
			}
			opts, err := o.options(c.Flags(), log)
			if err != nil {
				return usageError{err}
			}
			cfg, err := ctrl.GetConfig()
			if err != nil {
				return err
			}
			limitMemory(os.Getenv)
			return controllers.Run(c.Context(), cfg, opts, log)
		},
	}
	o.add(c.Flags())
	return c
}

// OperatorFlags are the flags of the verb operator with their defaults.
func OperatorFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	newOperatorFlags().add(f)
	return f
}

// InjectConfig returns the settings by which an operator with these flags shapes pods. What it learns from its cluster is missing:
// versions, addresses, the root certificate and, unless a flag names one, the image of the redirect step.
func InjectConfig(flags []string) (inject.Config, error) {
	f := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	o := newOperatorFlags()
	o.add(f)
	if err := f.Parse(flags); err != nil {
		return inject.Config{}, err
	}
	opts, err := o.options(f, logr.Discard())
	return opts.Inject, err
}

// newLogger writes JSON lines; "debug" shows one line per pass, a number n shows V(n), anything else is info.
// Source: App Mesh controller, flag log-level.
func newLogger(level string) (logr.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	cfg.Level = zap.NewAtomicLevelAt(zapcore.InfoLevel)
	if level == "debug" {
		cfg.Level = zap.NewAtomicLevelAt(zapcore.DebugLevel)
	} else if n, err := strconv.ParseInt(level, 10, 8); err == nil && n > 0 {
		cfg.Level = zap.NewAtomicLevelAt(zapcore.Level(-n))
	}
	z, err := cfg.Build()
	if err != nil {
		return logr.Logger{}, err
	}
	log := zapr.NewLogger(z)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client"))
	return log, nil
}

// operatorFlags are the flags as written.
type operatorFlags struct {
	logLevel, metricsAddr, clusterDomain, region, account string
	tlsMinVersion, tlsCiphers                             string
	sidecarRepository, sidecarTag                         string
	jaegerAddress, datadogAddress                         string
	healthPort, jaegerPort, datadogPort                   int
	statsdPort, xrayPort, envoyAdminPort                  int
	xdsPort, peerPort, operatorAdminPort, webhookPort     int
	dnsPort                                               int
	shutdownDelay                                         time.Duration
	preStop, postStart, readinessDelay, readinessPeriod   int
	leaderElection, jaeger, datadog, xray, backendGroups  bool
	syncPeriod, tokenExpiration                           time.Duration
	exempt                                                []string
	inject                                                inject.Config
}

func newOperatorFlags() *operatorFlags { return &operatorFlags{inject: inject.Defaults()} }

// add declares every flag of the App Mesh controller and ours. Source of names and defaults: App Mesh controller, chart 1.13.3.
func (o *operatorFlags) add(f *pflag.FlagSet) {
	o.addProcess(f)
	o.addSidecar(f)
	o.addTelemetry(f)
	addIgnored(f)
}

func (o *operatorFlags) addProcess(f *pflag.FlagSet) {
	f.StringVar(&o.logLevel, "log-level", "info", "debug for one line per pass, a number for more, anything else is info")
	f.StringVar(&o.metricsAddr, "metrics-addr", "0.0.0.0:8080", "where metrics are served")
	f.IntVar(&o.healthPort, "health-probe-port", 61779, "port of /healthz and /readyz")
	f.BoolVar(&o.leaderElection, "enable-leader-election", false, "let one of several replicas write statuses")
	f.DurationVar(&o.syncPeriod, "sync-period", 10*time.Hour, "how often informers replay everything")
	f.StringVar(&o.tlsMinVersion, "tls-min-version", "VersionTLS12", "lowest TLS version of the webhooks: VersionTLS12 or VersionTLS13")
	f.StringVar(&o.tlsCiphers, "tls-cipher-suite", "", "comma-separated Go names of the webhooks' cipher suites; empty for Go's own choice")
	f.StringVar(&o.region, "aws-region", "", "region in synthetic resource names")
	f.StringVar(&o.account, "aws-account-id", "", "account in synthetic resource names")
	f.BoolVar(&o.backendGroups, "enable-backend-groups", false, "let backend groups have an effect")
	f.StringVar(&o.clusterDomain, "cluster-domain", "cluster.local", "DNS suffix of the cluster's Services")
	f.StringSliceVar(&o.exempt, "egress-exempt", defaultExempt, "TLS server names on port 443 that pass the egress filter DROP_ALL")
	f.IntVar(&o.xdsPort, "xds-port", 15010, "port of xDS (TLS)")
	f.IntVar(&o.peerPort, "peer-port", 15011, "port for the other replicas (mutual TLS)")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the admission webhooks")
	f.DurationVar(&o.shutdownDelay, "shutdown-delay-duration", 5*time.Second, "how long to go on serving after the signal to end, until every node knows")
	f.IntVar(&o.dnsPort, "dns-port", 1053, "port of the DNS server, UDP and TCP")
	f.IntVar(&o.operatorAdminPort, "admin-port", 15014, "port of the admin API, on loopback")
	f.DurationVar(&o.tokenExpiration, "proxy-token-expiration", time.Hour, "life of the proxies' tokens")
}

func (o *operatorFlags) addSidecar(f *pflag.FlagSet) {
	c := &o.inject
	repository, tag := splitImage(c.SidecarImage)
	f.StringVar(&o.sidecarRepository, "sidecar-image-repository", repository, "image of Envoy")
	f.StringVar(&o.sidecarTag, "sidecar-image-tag", tag, "tag of Envoy's image")
	f.StringVar(&c.Resources.CPURequest, "sidecar-cpu-requests", c.Resources.CPURequest, "CPU request of the sidecar; empty for none")
	f.StringVar(&c.Resources.MemoryRequest, "sidecar-memory-requests", c.Resources.MemoryRequest, "memory request of the sidecar; empty for none")
	f.StringVar(&c.Resources.CPULimit, "sidecar-cpu-limits", "", "CPU limit of the sidecar")
	f.StringVar(&c.Resources.MemoryLimit, "sidecar-memory-limits", "", "memory limit of the sidecar")
	f.StringVar(&c.LogLevel, "sidecar-log-level", c.LogLevel, "log level of Envoy")
	f.IntVar(&o.envoyAdminPort, "envoy-admin-access-port", int(c.AdminPort), "admin port of Envoy")
	f.StringVar(&c.AdminLogFile, "envoy-admin-access-log-file", c.AdminLogFile, "admin access log of Envoy")
	f.BoolVar(&c.AdminIPv6, "envoy-admin-access-enable-ipv6", false, "listen on IPv6 at the admin port too")
	f.BoolVar(&c.AdminOpen, "envoy-admin-open", false, "let everybody in the cluster do everything at Envoy's admin port, as App Mesh did")
	f.IntVar(&o.preStop, "prestop-delay", int(c.PreStopDelay.Seconds()), "seconds that Envoy serves on at least when its pod stops; not in Jobs")
	f.IntVar(&o.postStart, "poststart-timeout", int(c.PostStartTimeout.Seconds()), "seconds that applications wait for Envoy's first configuration")
	f.BoolVar(&c.WaitUntilProxyReady, "wait-until-proxy-ready", false, "let applications wait for Envoy also where it is an ordinary container")
	f.IntVar(&o.readinessDelay, "readiness-probe-initial-delay", int(c.ReadinessInitialDelay.Seconds()), "initial delay of Envoy's readiness probe, in seconds")
	f.IntVar(&o.readinessPeriod, "readiness-probe-period", int(c.ReadinessPeriod.Seconds()), "period of Envoy's readiness probe, in seconds")
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
	c := &o.inject
	f.BoolVar(&c.StatsTags, "enable-stats-tags", false, "tag statistics with mesh and node")
	f.BoolVar(&c.Statsd.Enabled, "enable-statsd", false, "send statistics to DogStatsD")
	f.StringVar(&c.Statsd.Address, "statsd-address", c.Statsd.Address, "address of DogStatsD, or ref:status.hostIP")
	f.IntVar(&o.statsdPort, "statsd-port", int(c.Statsd.Port), "port of DogStatsD")
	f.StringVar(&c.Statsd.SocketPath, "statsd-socket-path", "", "socket of DogStatsD")
	for _, t := range []struct {
		kind    bootstrap.TracerKind
		name    string
		on      *bool
		address *string
		port    *int
	}{{bootstrap.Jaeger, "jaeger", &o.jaeger, &o.jaegerAddress, &o.jaegerPort}, {bootstrap.Datadog, "datadog", &o.datadog, &o.datadogAddress, &o.datadogPort}} {
		address, port := inject.TracingDefaults(t.kind)
		f.BoolVar(t.on, "enable-"+t.name+"-tracing", false, "send traces to "+t.name)
		f.StringVar(t.address, t.name+"-address", address, "address of "+t.name+", or ref:status.hostIP")
		f.IntVar(t.port, t.name+"-port", int(port), "port of "+t.name)
	}
	f.BoolVar(&o.xray, "enable-xray-tracing", false, "send traces to X-Ray by its daemon")
	f.IntVar(&o.xrayPort, "xray-daemon-port", 2000, "port of the X-Ray daemon")
	f.StringVar(&c.Tracing.XRay.SamplingRate, "xray-sampling-rate", c.Tracing.XRay.SamplingRate, "share of requests that X-Ray samples, 0 to 1")
	f.StringVar(&c.Tracing.XRay.LogLevel, "xray-log-level", c.Tracing.XRay.LogLevel, "log level of the X-Ray daemon")
	f.StringVar(&c.Tracing.XRay.RoleARN, "xray-config-roleArn", "", "role of the X-Ray daemon")
	f.StringVar(&c.Tracing.XRay.Image, "xray-image", c.Tracing.XRay.Image, "image of the X-Ray daemon")
}

// addIgnored declares the flags that have no meaning without AWS, so that old charts and manifests go on working. The keys of
// envoy-aws-… are among them on purpose: they would stand in every pod's specification, and stock Envoy has no use for them.
func addIgnored(f *pflag.FlagSet) {
	for _, name := range []string{
		"cluster-name", "aws-api-throttle", "page-limit", "cloudmap-dns-ttl", "poststart-interval",
		"envoy-aws-access-key-id", "envoy-aws-secret-access-key", "envoy-aws-session-token",
	} {
		f.String(name, "", "accepted without effect")
	}
	for _, name := range []string{"use-aws-fips-endpoint", "use-aws-dual-stack-endpoint", "enable-custom-health-check"} {
		f.Bool(name, false, "accepted without effect")
	}
}

func splitImage(image string) (repository, tag string) {
	i := strings.LastIndex(image, ":")
	return image[:i], image[i+1:]
}

// options checks the flags and turns them into the operator's options.
func (o *operatorFlags) options(f *pflag.FlagSet, log logr.Logger) (controllers.Options, error) {
	c := o.inject
	c.SidecarImage = o.sidecarRepository + ":" + o.sidecarTag
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	c.PreStopDelay, c.PostStartTimeout = seconds(o.preStop), seconds(o.postStart)
	c.ReadinessInitialDelay, c.ReadinessPeriod = seconds(o.readinessDelay), seconds(o.readinessPeriod)
	c.ControlPlane.TokenExpiration = o.tokenExpiration
	c.Region, c.AccountID = o.region, accountID(o.account)
	c.ControlPlane.Host = "aftermesh.aftermesh-system.svc." + o.clusterDomain + "."
	var errs []error
	port := func(name string, n int) uint16 {
		if n < 1 || n > math.MaxUint16 {
			errs = append(errs, fmt.Errorf("--%s: %d is not a port", name, n))
			return 0
		}
		return uint16(n)
	}
	c.AdminPort, c.Statsd.Port = port("envoy-admin-access-port", o.envoyAdminPort), port("statsd-port", o.statsdPort)
	c.ControlPlane.Port = port("xds-port", o.xdsPort)
	tracers := 0
	for _, t := range []struct {
		on      bool
		kind    bootstrap.TracerKind
		address string
		port    int
	}{{o.jaeger, bootstrap.Jaeger, o.jaegerAddress, o.jaegerPort}, {o.datadog, bootstrap.Datadog, o.datadogAddress, o.datadogPort}, {o.xray, bootstrap.XRay, "127.0.0.1", o.xrayPort}} {
		if t.on {
			tracers++
			c.Tracing.Kind, c.Tracing.Address, c.Tracing.Port = t.kind, t.address, port(string(t.kind)+" port", t.port)
		}
	}
	if tracers > 1 {
		errs = append(errs, errors.New("only one of --enable-xray-tracing, --enable-jaeger-tracing and --enable-datadog-tracing may be given"))
	}
	minVersion, ciphers, err := webhookTLS(o.tlsMinVersion, o.tlsCiphers)
	errs = append(errs, err)
	f.Visit(func(fl *pflag.Flag) {
		if fl.Usage == "accepted without effect" && fl.Value.String() != fl.DefValue {
			log.Info("Flag has no effect", "name", fl.Name)
		}
	})
	opts := controllers.Options{
		Version: Version, MetricsAddr: o.metricsAddr, HealthPort: o.healthPort, AdminPort: o.operatorAdminPort,
		XDSPort: o.xdsPort, PeerPort: o.peerPort, WebhookPort: o.webhookPort, DNSPort: o.dnsPort, ShutdownDelay: o.shutdownDelay, LeaderElection: o.leaderElection, SyncPeriod: o.syncPeriod,
		TLSMinVersion: minVersion, TLSCipherSuites: ciphers, ClusterDomain: o.clusterDomain, EgressExempt: o.exempt, BackendGroups: o.backendGroups,
		Inject: c, Service: "aftermesh", ServiceDomain: o.clusterDomain,
	}
	opts.ARN.Region, opts.ARN.Account = o.region, accountID(o.account)
	opts.Environment()
	return opts, errors.Join(errs...)
}

// floatAccount is what Helm makes of an account number that was not quoted.
var floatAccount = regexp.MustCompile(`^[0-9.]+e\+[0-9]+$`)

// accountID repairs the floating-point form of an account number.
func accountID(s string) string {
	if !floatAccount.MatchString(s) {
		return s
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return fmt.Sprintf("%012.0f", n)
}

// webhookTLS maps Go's names of TLS versions and cipher suites.
func webhookTLS(version, suites string) (uint16, []uint16, error) {
	versions := map[string]uint16{"VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13}
	v, ok := versions[cmp.Or(version, "VersionTLS12")]
	if !ok {
		return 0, nil, fmt.Errorf("--tls-min-version: %q is neither VersionTLS12 nor VersionTLS13", version)
	}
	var ids []uint16
	for name := range strings.SplitSeq(suites, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return 0, nil, fmt.Errorf("--tls-cipher-suite: %q is not a cipher suite that Go offers", name)
		}
		ids = append(ids, tls.CipherSuites()[i].ID)
	}
	return v, ids, nil
}

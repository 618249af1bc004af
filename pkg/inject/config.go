package inject

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// Config holds the operator's settings that shape pods. Flag names and defaults are those of the App Mesh controller
// unless a comment says otherwise; see Defaults. It is read only once it is in use.
type Config struct {
	// Version of the operator, written into pods.
	Version string
	// KubernetesVersion of the API server; empty leaves its variable out.
	KubernetesVersion string
	// AccountID is the AWS account that meshOwner is compared with. Empty: every owner is a foreign one.
	AccountID string
	// Region fills AWS_REGION; empty leaves it out.
	Region string

	// SidecarImage is stock Envoy (flags sidecar-image-repository and -tag).
	SidecarImage string
	// InitImage is the image of proxyinit (flag init-image), InitCommand what it runs.
	InitImage   string
	InitCommand []string
	// Resources of proxyinit, and of envoy and xray-daemon unless annotations say otherwise (flags sidecar-cpu-requests, …).
	Resources Resources
	// LogLevel of Envoy (flag sidecar-log-level).
	LogLevel string

	// NativeSidecar makes Envoy a restartable init container. False: an ordinary container, for Kubernetes before 1.29.
	NativeSidecar bool
	// PreStopDelay is how long Envoy serves on when its pod is told to stop (flag prestop-delay). Zero: not at all.
	PreStopDelay time.Duration
	// PostStartTimeout is how long the application waits for Envoy's first configuration (flag poststart-timeout).
	PostStartTimeout time.Duration
	// WaitUntilProxyReady makes the application wait also where Envoy is an ordinary container (flag wait-until-proxy-ready).
	WaitUntilProxyReady bool
	// ReadinessInitialDelay and ReadinessPeriod of Envoy's readiness probe (flags readiness-probe-initial-delay, -period).
	ReadinessInitialDelay, ReadinessPeriod time.Duration

	// AdminPort, AdminLogFile and AdminIPv6 fill Envoy's variables (flags envoy-admin-access-port, -log-file, -enable-ipv6).
	AdminPort    uint16
	AdminLogFile string
	AdminIPv6    bool
	// AdminOpen lets everybody do everything at the admin port (flag envoy-admin-open).
	AdminOpen bool

	// DualStackEndpoint, FIPSEndpoint and Preview only fill App Mesh's variables.
	DualStackEndpoint, FIPSEndpoint, Preview bool

	// CNI leaves redirection to a CNI plugin in pods that do not say otherwise (flag cni).
	CNI bool
	// IgnoredIPs are destinations that are not redirected (flag ignored-ips), a comma list.
	IgnoredIPs string
	// KubernetesAPI are the cluster addresses of the API server. Nodes of a mesh that drops unmodelled traffic reach
	// them directly, because nearly every pod needs them. Empty switches that off.
	KubernetesAPI []string

	// SDS mounts the socket of a local SDS provider at SDSPath (flags enable-sds, sds-uds-path).
	SDS     bool
	SDSPath string
	// FSGroup gives pods the proxy's group (flag enable-iam-for-service-accounts).
	FSGroup bool
	// PullSecret adds App Mesh's image pull secret (flag enable-ecr-secret).
	PullSecret bool

	Tracing Tracing
	// StatsTags adds tags for mesh and node to every statistic (flag enable-stats-tags).
	StatsTags bool
	Statsd    Statsd

	ControlPlane ControlPlane
	// IPFamilies of the cluster's pods: "4", "6" or "46".
	IPFamilies string
}

// Resources are quantities as users write them; empty means none.
type Resources struct{ CPURequest, MemoryRequest, CPULimit, MemoryLimit string }

// Tracing is where proxies send spans (flags enable-jaeger-tracing, jaeger-address, …).
type Tracing struct {
	// Kind is empty for none.
	Kind bootstrap.TracerKind
	// Address of Jaeger or Datadog; "ref:status.hostIP" is the pod's node. X-Ray is always in the pod.
	Address string
	Port    uint16
	XRay    XRay
}

// XRay are the settings of X-Ray's daemon (flags xray-image, xray-sampling-rate, xray-log-level, xray-config-roleArn).
type XRay struct{ Image, SamplingRate, LogLevel, RoleARN string }

// Statsd is a DogStatsD sink (flags enable-statsd, statsd-address, -port, -socket-path).
type Statsd struct {
	Enabled bool
	// Address is an IP address or "ref:status.hostIP".
	Address    string
	Port       uint16
	SocketPath string
}

// ControlPlane says how proxies reach and recognise the control plane.
type ControlPlane struct {
	// Host is best fully qualified with a trailing dot.
	Host string
	Port uint16
	// ClusterIP is used by pods that do not resolve cluster names (dnsPolicy Default or None); empty: Host always.
	ClusterIP string
	// ServerName is the DNS name in the server's certificate.
	ServerName string
	// CA is the root of that certificate in PEM.
	CA string
	// TokenAudience and TokenExpiration of the service account token that proxies show. Kubernetes allows no less than
	// ten minutes.
	TokenAudience   string
	TokenExpiration time.Duration
}

// hostIPReference stands for the address of the pod's node in the addresses of agents.
const hostIPReference = "ref:status.hostIP"

// Defaults are the settings of an installation without any flag. CA, Version and the facts about the cluster are left to
// the caller.
func Defaults() Config {
	return Config{
		SidecarImage:     "envoyproxy/envoy:distroless-v1.40.0",
		InitImage:        "aftermesh/aftermesh",
		InitCommand:      []string{"/aftermesh", "redirect"},
		Resources:        Resources{CPURequest: "10m", MemoryRequest: "32Mi"},
		LogLevel:         "info",
		NativeSidecar:    true,
		PreStopDelay:     20 * time.Second,
		PostStartTimeout: 180 * time.Second,
		ReadinessPeriod:  10 * time.Second,
		AdminPort:        meshv1beta2.PortAdmin,
		AdminLogFile:     "/tmp/envoy_admin_access.log",
		IgnoredIPs:       "169.254.169.254",
		SDSPath:          "/run/spire/sockets/agent.sock",
		FSGroup:          true,
		Tracing: Tracing{XRay: XRay{
			Image: "amazon/aws-xray-daemon", SamplingRate: "0.05", LogLevel: "prod",
		}},
		Statsd: Statsd{Address: "127.0.0.1", Port: 8125},
		ControlPlane: ControlPlane{
			Host: "aftermesh.aftermesh-system.svc.cluster.local.", Port: 15010,
			ServerName:    "aftermesh.aftermesh-system.svc",
			TokenAudience: "aftermesh", TokenExpiration: time.Hour,
		},
		IPFamilies: "4",
	}
}

// TracingDefaults are the address and port of a tracing system when no flag names them.
func TracingDefaults(kind bootstrap.TracerKind) (address string, port uint16) {
	switch kind {
	case bootstrap.Jaeger:
		return "appmesh-jaeger.appmesh-system", 9411
	case bootstrap.Datadog:
		return "datadog.appmesh-system", 8126
	case bootstrap.XRay:
		return "127.0.0.1", 2000
	default:
		return "", 0
	}
}

// Validate finds settings that no pod could be made with. All faults are reported; the operator must not start with any.
func (c Config) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.SidecarImage == "" || c.InitImage == "" {
		complain("sidecar image and init image must be set")
	}
	if c.AdminPort == 0 {
		complain("envoy-admin-access-port must not be 0: probes need it")
	}
	if _, err := c.Resources.requirements(); err != nil {
		errs = append(errs, err)
	}
	if _, err := redirect.ParsePrefixes(c.IgnoredIPs); err != nil {
		complain("ignored-ips: %w", err)
	}
	if s := c.Statsd; s.Enabled && s.SocketPath == "" && s.Address != hostIPReference {
		if _, err := netip.ParseAddr(s.Address); err != nil {
			complain("statsd-address %q must be an IP address or %s: Envoy does not resolve names there", s.Address, hostIPReference)
		}
	}
	if c.Tracing.Kind != "" && (c.Tracing.Address == "" || c.Tracing.Port == 0) {
		complain("%s tracing needs an address and a port", c.Tracing.Kind)
	}
	if c.Tracing.Kind == bootstrap.XRay {
		errs = append(errs, c.Tracing.XRay.validate())
	}
	switch c.IPFamilies {
	case "4", "6", "46":
	default:
		complain("IP families %q must be 4, 6 or 46", c.IPFamilies)
	}
	p := c.ControlPlane
	if p.Host == "" || p.Port == 0 || p.ServerName == "" || p.CA == "" {
		complain("host, port, server name and root certificate of the control plane must be set")
	}
	if p.TokenExpiration < minTokenExpiration {
		complain("token expiration %s is below Kubernetes' minimum of %s", p.TokenExpiration, minTokenExpiration)
	}
	return errors.Join(errs...)
}

// minTokenExpiration is the shortest life that Kubernetes accepts for a projected token.
const minTokenExpiration = 10 * time.Minute

// override returns r with the fields of other that are not empty.
func (r Resources) override(other Resources) Resources {
	pick := func(a, b string) string {
		if b != "" {
			return b
		}
		return a
	}
	return Resources{
		pick(r.CPURequest, other.CPURequest), pick(r.MemoryRequest, other.MemoryRequest),
		pick(r.CPULimit, other.CPULimit), pick(r.MemoryLimit, other.MemoryLimit),
	}
}

func (r Resources) requirements() (corev1.ResourceRequirements, error) {
	var out corev1.ResourceRequirements
	add := func(list *corev1.ResourceList, name corev1.ResourceName, text string) error {
		if text = strings.TrimSpace(text); text == "" {
			return nil
		}
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return fmt.Errorf("%q is not a quantity of %s", text, name)
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = quantity
		return nil
	}
	err := errors.Join(
		add(&out.Requests, corev1.ResourceCPU, r.CPURequest), add(&out.Requests, corev1.ResourceMemory, r.MemoryRequest),
		add(&out.Limits, corev1.ResourceCPU, r.CPULimit), add(&out.Limits, corev1.ResourceMemory, r.MemoryLimit),
	)
	return out, err
}

package controllers

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/admission"
	"github.com/aftermesh/aftermesh/pkg/ca"
	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/inject"
	injectwebhook "github.com/aftermesh/aftermesh/pkg/inject/webhook"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/pkg/status"
	"github.com/aftermesh/aftermesh/pkg/validate"
	"github.com/aftermesh/aftermesh/pkg/xds"
	"github.com/aftermesh/aftermesh/pkg/xds/peer"
)

// Options are the settings of the operator. Names and defaults follow the flags of the App Mesh controller where it had them.
type Options struct {
	Version string
	// MetricsAddr and HealthPort are where metrics and probes are served; XDSAddr, PeerAddr, WebhookPort and AdminAddr likewise.
	MetricsAddr            string
	HealthPort, AdminPort  uint16
	XDSPort, PeerPort      uint16
	WebhookPort, DNSPort   uint16
	LeaderElection         bool
	SyncPeriod             time.Duration
	TLSMinVersion          uint16
	TLSCipherSuites        []uint16
	ClusterDomain          string
	EgressExempt           []string
	BackendGroups          bool
	ARN                    status.ARN
	Inject                 inject.Config
	Namespace, PodName     string
	PodIP                  string
	PodIPs                 []string
	Service, ServiceDomain string
	// ShutdownDelay is how long a replica goes on after it is told to end: until everybody has heard that it leaves.
	ShutdownDelay time.Duration
}

// Scheme knows the kinds that the operator reads and writes.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, meshv1alpha1.AddToScheme, meshv1beta2.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // a programming error: two types under one name
		}
	}
	return s
}

// operator is one replica with everything it serves.
type operator struct {
	Options
	log        logr.Logger
	manager    manager.Manager
	client     client.Client // not cached: Secrets and webhook configurations
	source     *source.Cluster
	pipeline   *pipeline.Pipeline
	cache      *xds.Cache
	peers      *peer.Table
	operatorCA *identity.Issuer
	xdsCA      *identity.Issuer

	// The triggers make a writer look at the snapshot again.
	statusTrigger, lifetimeTrigger, certificateTrigger, podTrigger chan struct{}

	served   chan struct{} // closed after the first pass
	hosts    hosts
	early    []func(context.Context) error
	draining context.Context // ends when the replica is told to end, ShutdownDelay before it does
}

// Run serves until ctx ends, and ShutdownDelay longer. The error says what kept it from starting or made it stop.
func Run(ctx context.Context, cfg *rest.Config, o Options, log logr.Logger) error {
	draining := ctx
	ctx, cancel := delayed(ctx, o.ShutdownDelay)
	defer cancel()
	op := &operator{draining: draining, Options: o, log: log, statusTrigger: make(chan struct{}, 1), lifetimeTrigger: make(chan struct{}, 1), certificateTrigger: make(chan struct{}, 1), podTrigger: make(chan struct{}, 1), served: make(chan struct{}), hosts: hosts{changed: make(chan struct{}, 1)}}
	steps := []struct {
		what string
		do   func(context.Context, *rest.Config) error
	}{
		{"load the operator's authorities", op.loadAuthorities},
		{"set up the manager", op.newManager},
		{"learn about the cluster", op.discover},
		{"watch the cluster", op.watch},
		{"serve xDS", op.serveXDS},
		{"talk to the other replicas", func(context.Context, *rest.Config) error { return op.servePeers() }},
		{"serve the admin API", func(context.Context, *rest.Config) error { return op.serveAdmin() }},
		{"serve DNS", op.serveDNS},
		{"serve webhooks", op.serveWebhooks},
		{"write statuses", op.writeStatuses},
		{"write finalizers", op.writeLifetimes},
		{"open readiness gates", op.openGates},
		{"sign certificates", op.signCertificates},
		{"answer probes", op.answerProbes},
	}
	for _, s := range steps {
		if err := s.do(ctx, cfg); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	log.Info("Starting", "version", o.Version, "namespace", o.Namespace)
	return op.start(ctx)
}

// delayed returns a context that ends some time after another one.
func delayed(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return out, func() { stop(); cancel() }
}

// start runs everything until ctx ends or something fails. Probes and metrics are answered from the beginning, not only when the caches
// are filled.
func (op *operator) start(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var early sync.WaitGroup
	defer early.Wait()
	defer cancel(nil)
	for _, serve := range op.early {
		early.Go(func() {
			if err := serve(ctx); err != nil {
				cancel(err)
			}
		})
	}
	err := op.manager.Start(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

func (op *operator) loadAuthorities(ctx context.Context, cfg *rest.Config) error {
	c, err := client.New(cfg, client.Options{Scheme: Scheme()})
	if err != nil {
		return err
	}
	op.client = c
	own, err := loadAuthority(ctx, c, op.Namespace, operatorAuthoritySecret, operatorAuthorityLife)
	if err != nil {
		return err
	}
	xdsRoot, err := loadAuthority(ctx, c, op.Namespace, xdsAuthoritySecret, xdsAuthorityLife)
	if err != nil {
		return err
	}
	if _, err := loadAuthority(ctx, c, op.Namespace, ca.SecretName, ca.Life); err != nil {
		return err
	}
	names := identity.Names{DNS: serviceNames(op.Service, op.Namespace, op.ServiceDomain)}
	if ip := net.ParseIP(op.PodIP); ip != nil {
		names.IPs = append(names.IPs, ip)
	}
	op.operatorCA = identity.NewIssuer(own, names, leafLife, time.Now)
	var s corev1.Service
	if err := c.Get(ctx, types.NamespacedName{Namespace: op.Namespace, Name: op.Service}, &s); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Service %s/%s: %w", op.Namespace, op.Service, err)
	}
	for _, ip := range s.Spec.ClusterIPs {
		if p := net.ParseIP(ip); p != nil {
			names.IPs = append(names.IPs, p)
			op.Inject.ControlPlane.ClusterIP = cmp.Or(op.Inject.ControlPlane.ClusterIP, ip)
		}
	}
	op.xdsCA = identity.NewIssuer(xdsRoot, names, leafLife, time.Now)
	op.Inject.ControlPlane.CA = string(xdsRoot.PEM())
	return nil
}

// serviceNames are all names by which a Service may be called, the shortest unambiguous one first.
func serviceNames(service, namespace, domain string) []string {
	base := service + "." + namespace + ".svc"
	return []string{base, base + "." + domain, service + "." + namespace}
}

func (op *operator) newManager(_ context.Context, cfg *rest.Config) error {
	sync := op.SyncPeriod
	m, err := ctrl.NewManager(cfg, manager.Options{
		Scheme: Scheme(), Logger: op.log,
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // served within bounds, see http.go
		HealthProbeBindAddress:        "0",
		LeaderElection:                op.LeaderElection,
		LeaderElectionID:              "aftermesh",
		LeaderElectionNamespace:       op.Namespace,
		LeaderElectionReleaseOnCancel: true,
		Cache: cache.Options{
			SyncPeriod: &sync, DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Pod{}: {Transform: source.Slim}, &appsv1.ControllerRevision{}: {Label: source.AcceptedSelector()},
				&corev1.Secret{}: {Namespaces: map[string]cache.Config{op.Namespace: {}}, Transform: source.SlimSecret},
			},
		},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		WebhookServer: newHooks(op.draining, int(op.WebhookPort), &tls.Config{
			NextProtos: []string{"h2", "http/1.1"}, MinVersion: op.TLSMinVersion, CipherSuites: op.TLSCipherSuites,
			GetCertificate: op.operatorCA.ServerConfig().GetCertificate,
		}, op.panicked("webhook")),
	})
	if err != nil {
		return err
	}
	op.manager = m
	for _, c := range collectors() {
		var again prometheus.AlreadyRegisteredError
		if err := metrics.Registry.Register(c); err != nil && !errors.As(err, &again) {
			return err
		}
	}
	return errors.Join(
		m.Add(&caWatcher{client: op.client, namespace: op.Namespace, secret: operatorAuthoritySecret, issuer: op.operatorCA, log: op.log}),
		m.Add(&caRotator{client: op.client, namespace: op.Namespace, log: op.log}),
	)
}

// discover fills in the facts about the cluster that shape pods: its version, its address families, its API server's
// addresses and the operator's own image.
func (op *operator) discover(ctx context.Context, cfg *rest.Config) error {
	version, err := serverVersion(cfg)
	if err != nil {
		return fmt.Errorf("read the version of the API server: %w", err)
	}
	op.Inject.KubernetesVersion, op.Inject.Version = version, op.Version
	op.Inject.IPFamilies = families(op.PodIPs)
	var api corev1.Service
	if err := op.client.Get(ctx, types.NamespacedName{Namespace: "default", Name: "kubernetes"}, &api); err != nil {
		return fmt.Errorf("read Service default/kubernetes: %w", err)
	}
	op.Inject.KubernetesAPI = api.Spec.ClusterIPs
	if op.Inject.InitImage == "" {
		var self corev1.Pod
		if err := op.client.Get(ctx, types.NamespacedName{Namespace: op.Namespace, Name: op.PodName}, &self); err != nil {
			return fmt.Errorf("read the operator's own pod to learn its image: %w", err)
		}
		op.Inject.InitImage = self.Spec.Containers[0].Image
	}
	return op.Inject.Validate()
}

// families says which IP families the given addresses have: "4", "6" or "46".
func families(ips []string) string {
	v6 := slices.ContainsFunc(ips, func(s string) bool { return strings.Contains(s, ":") })
	v4 := slices.ContainsFunc(ips, func(s string) bool { return strings.Contains(s, ".") })
	switch {
	case v4 && v6:
		return "46"
	case v6:
		return "6"
	default:
		return "4"
	}
}

func (op *operator) watch(ctx context.Context, _ *rest.Config) error {
	src, err := source.NewCluster(ctx, op.manager.GetCache(), input.Settings{
		ClusterDomain: op.ClusterDomain, EgressExempt: op.EgressExempt, BackendGroups: op.BackendGroups, IPv6Only: op.Inject.IPFamilies == "6",
		AdminPort: int64(op.Inject.AdminPort),
	}, op.Namespace)
	if err != nil {
		return err
	}
	op.source = src
	op.cache = xds.NewCache()
	src.Gone = op.cache.Disconnect
	op.pipeline = pipeline.New(op.cache, time.Now)
	first := true
	return op.manager.Add(&loop{source: src, pipeline: op.pipeline, log: op.log.WithName("pipeline"), unresolvable: op.hosts.zones, stepped: func(s *pipeline.Snapshot) {
		op.hosts.note(s, op.Service+"-dns."+op.Namespace+".svc."+op.ServiceDomain)
		if first {
			first = false
			close(op.served)
		}
		op.signal()
		trigger(op.certificateTrigger)
		trigger(op.podTrigger)
	}})
}

func (op *operator) signCertificates(context.Context, *rest.Config) error {
	return op.manager.Add(&certificateIssuer{
		client: op.client, namespace: op.Namespace, log: op.log.WithName("ca"),
		snapshot: op.pipeline.Last, leaves: op.source.Leaves, stored: op.source.LeafSecrets, settings: op.source.Settings, trigger: op.certificateTrigger,
	})
}

// signal wakes the leader's writers.
func (op *operator) signal() {
	trigger(op.statusTrigger)
	trigger(op.lifetimeTrigger)
}

func trigger(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (op *operator) serveWebhooks(context.Context, *rest.Config) error {
	server := op.manager.GetWebhookServer()
	live := newSparing(op.client)
	admission.Register(server, admission.Deps{
		Cache: op.manager.GetClient(), Live: live, Families: func() string { return op.Inject.IPFamilies }, ClusterDomain: op.ClusterDomain,
		Rules: validate.Rules{AdminPort: int64(op.Inject.AdminPort)},
	})
	server.Register(injectwebhook.Path, &webhook.Admission{Handler: &injectwebhook.Handler{
		Cache: op.manager.GetClient(), Live: live, Config: func() inject.Config { return op.Inject },
		Leaving: func(n *meshv1beta2.VirtualNode) bool { return lifetime.Leaving(op.source.Objects(), n) },
	}})
	return nil
}

func (op *operator) writeStatuses(context.Context, *rest.Config) error {
	return errors.Join(
		op.manager.Add(&statusWriter{
			client: op.manager.GetClient(), recorder: op.manager.GetEventRecorder("aftermesh"), log: op.log.WithName("status"),
			objects: func() *input.Objects { return lifetime.Serve(op.source.Objects()) }, revised: op.source.Revised, snapshot: op.pipeline.Last, proxies: op.proxyStates, trigger: op.statusTrigger, arn: op.ARN,
		}),
		op.manager.Add(everywhere(op.forwardSignals)),
		op.manager.Add(&podEvents{log: op.log.WithName("pods"), recorder: op.manager.GetEventRecorder("aftermesh"), snapshot: op.pipeline.Last, silent: op.silent, trigger: op.podTrigger}),
	)
}

// everywhere is a task that every replica runs.
type everywhere func(context.Context) error

// Start runs the task.
func (e everywhere) Start(ctx context.Context) error { return e(ctx) }

// NeedLeaderElection is false.
func (e everywhere) NeedLeaderElection() bool { return false }

// Environment fills in what the pod says about itself.
func (o *Options) Environment() {
	o.Namespace = cmp.Or(os.Getenv("POD_NAMESPACE"), "aftermesh-system")
	o.PodName, o.PodIP = os.Getenv("POD_NAME"), os.Getenv("POD_IP")
	for ip := range strings.SplitSeq(os.Getenv("POD_IPS"), ",") {
		if ip = strings.TrimSpace(ip); ip != "" {
			o.PodIPs = append(o.PodIPs, ip)
		}
	}
}

func serverVersion(cfg *rest.Config) (string, error) {
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return "", err
	}
	v, err := d.ServerVersion()
	if err != nil {
		return "", err
	}
	return v.GitVersion, nil
}

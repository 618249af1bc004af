package bootstrap

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// variants are the settings that each switch of the injector leads to.
func variants() map[string]func(*bootstrap.Settings) {
	return map[string]func(*bootstrap.Settings){
		"the plain sidecar": func(*bootstrap.Settings) {},
		"IPv6 only": func(s *bootstrap.Settings) {
			s.IPFamilies, s.ControlPlane.Host = "6", "fd00::1"
		},
		"dual stack with a host name": func(s *bootstrap.Settings) {
			s.IPFamilies, s.ControlPlane.Host = "46", "aftermesh.aftermesh-system.svc.cluster.local."
		},
		"the open admin port":  func(s *bootstrap.Settings) { s.Admin.Open = true },
		"no admin port":        func(s *bootstrap.Settings) { s.Admin.Port = 0 },
		"a local SDS provider": func(s *bootstrap.Settings) { s.SDSSocket = "/run/spire/sockets/agent.sock" },
		"Jaeger": func(s *bootstrap.Settings) {
			s.Tracer = bootstrap.Tracer{Kind: bootstrap.Jaeger, Host: "jaeger.tracing", Port: 9411}
		},
		"Jaeger with JSON": func(s *bootstrap.Settings) {
			s.Tracer = bootstrap.Tracer{Kind: bootstrap.Jaeger, Host: "127.0.0.1", Port: 9411, JSON: true}
		},
		"Jaeger on the node": func(s *bootstrap.Settings) {
			s.Tracer = bootstrap.Tracer{Kind: bootstrap.Jaeger, Host: bootstrap.HostIP, Port: 9411}
		},
		"Datadog": func(s *bootstrap.Settings) {
			s.Tracer = bootstrap.Tracer{Kind: bootstrap.Datadog, Host: "datadog.appmesh-system", Port: 8126, Service: "envoy-demo/front"}
		},
		"X-Ray": func(s *bootstrap.Settings) {
			s.Tracer = bootstrap.Tracer{Kind: bootstrap.XRay, Host: "127.0.0.1", Port: 2000, Service: "demo/front", Mesh: "demo", Node: "front", SamplingRate: 0.05}
		},
		"X-Ray at another rate": func(s *bootstrap.Settings) {
			s.Tracer = bootstrap.Tracer{Kind: bootstrap.XRay, Host: "127.0.0.1", Port: 2000, Service: "demo/front", Mesh: "demo", Node: "front", SamplingRate: 0.5}
		},
		"StatsD by address":  func(s *bootstrap.Settings) { s.Statsd = bootstrap.Statsd{Host: "127.0.0.1", Port: 8125} },
		"StatsD on the node": func(s *bootstrap.Settings) { s.Statsd = bootstrap.Statsd{Host: bootstrap.HostIP, Port: 8125} },
		"StatsD by socket": func(s *bootstrap.Settings) {
			s.Statsd = bootstrap.Statsd{SocketPath: "/var/run/statsd.sock", Host: "127.0.0.1", Port: 8125}
		},
		"requests that pass TLS": func(s *bootstrap.Settings) {
			s.IPFamilies = "46"
			s.Forwards = []bootstrap.Forward{
				{Listen: 15020, Methods: []string{"GET", "HEAD"}, Path: "/probe/app/liveness", Port: 8080, Target: "/a%20b?x=$(Y)", Timeout: time.Second},
				{Listen: 15020, Methods: []string{"GET"}, Path: "/metrics/8080/m", AnyQuery: true, Port: 8080, Target: "/m", TLS: true},
				{Listen: 15020, Methods: []string{"GET"}, Path: "/probe/app/startup", Host: "*.example*:1", Port: 8080, Target: "/"},
				{Listen: 15021, Methods: []string{"POST"}, Path: "/grpc.health.v1.Health/Check", Port: 9090, Target: "/grpc.health.v1.Health/Check", HTTP2: true, TLS: true},
			}
		},
		"everything else at once": func(s *bootstrap.Settings) {
			s.NodeCluster = "other"
			s.Tags = []bootstrap.Tag{{Name: "appmesh.mesh", Value: "demo"}, {Name: "appmesh.virtual_gateway", Value: "ingress_demo"}}
			s.InitialFetchTimeout, s.StatsFlushInterval, s.RequestsPerIOCycle = 7*time.Second, time.Second, 10
			s.Metadata["text"] = `with "quotes", $(PARENTHESES), $$ and a line` + "\nbreak"
		},
	}
}

func TestEveryVariantIsAccepted(t *testing.T) {
	folder := newCredentialFolder(t)
	folder.token("x")
	_, ca := certificate(t, serverName)
	for _, version := range []string{newest, oldest} {
		for name, change := range variants() {
			t.Run(version+" "+name, func(t *testing.T) {
				t.Parallel()
				s := settings(t, &controlPlane{port: 15010, ca: ca}, folder)
				change(&s)
				out, err := exec.CommandContext(t.Context(), binary(t, version), "--mode", "validate", "--config-yaml", argument(t, s),
					"--skip-deprecated-logs", "--disable-hot-restart").CombinedOutput()
				if err != nil || !strings.Contains(string(out), "OK") {
					t.Fatalf("%v\n%s", err, out)
				}
				for line := range strings.Lines(string(out)) {
					if strings.Contains(line, "[warning]") || strings.Contains(line, "[error]") {
						t.Errorf("Envoy complains: %s", line)
					}
				}
			})
		}
	}
}

func TestDollarSignsSurviveTheWayThroughTheContainersArguments(t *testing.T) {
	folder := newCredentialFolder(t)
	_, ca := certificate(t, serverName)
	s := settings(t, &controlPlane{port: 1, ca: ca}, folder)
	s.Metadata = map[string]string{"own": bootstrap.PodName, "foreign": "$(HOME) $$(HOME) $ $$ end$"}
	got := argument(t, s)
	for _, want := range []string{`"own":"front-0"`, `"foreign":"$(HOME) $$(HOME) $ $$ end$"`} {
		if !strings.Contains(got, want) {
			t.Errorf("argument lacks %s:\n%s", want, got)
		}
	}
}

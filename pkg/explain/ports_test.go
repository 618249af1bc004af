package explain_test

import (
	"net/netip"
	"testing"

	"github.com/aftermesh/aftermesh/pkg/explain"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/test/golden"
)

// goldenSnapshot compiles the manifests of a golden file.
func goldenSnapshot(t *testing.T, name string) *pipeline.Snapshot {
	t.Helper()
	g, err := golden.Parse("../pipeline/testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Step(g.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The services of these files share ports. A connection reaches the one that is meant, or none of them.
func TestAConnectionReachesNoServiceThatNobodyMeant(t *testing.T) {
	const unknown, pass = "203.0.113.9", "cds_egress_demo_mesh-allow-all"
	for name, c := range map[string]struct {
		url, address, closing, open string // clusters in a mesh with DROP_ALL, and with ALLOW_ALL
	}{
		"TLS is sent by server name":                {"https://www.shoes.example", unknown, "cds_egress_demo_shoes_demo_tcp_443", "cds_egress_demo_shoes_demo_tcp_443"},
		"TLS is sent by the host's own name":        {"https://lb-7.shoes.example", unknown, "cds_egress_demo_shoes_demo_tcp_443", "cds_egress_demo_shoes_demo_tcp_443"},
		"TLS to the other host":                     {"https://whoami.example.org", unknown, "cds_egress_demo_whoami_demo_tcp_443", "cds_egress_demo_whoami_demo_tcp_443"},
		"TLS to a stranger":                         {"https://stranger.example", unknown, "", pass},
		"TLS to an exempt name":                     {"https://s3.amazonaws.com", unknown, "cds_egress_demo_amazonaws", "cds_egress_demo_amazonaws"},
		"clear text on a port of TLS hosts":         {"tcp://www.shoes.example:443", unknown, "", pass},
		"a database by its address":                 {"tcp://x:5432", "10.1.0.5", "cds_egress_demo_db_demo_tcp_5432", "cds_egress_demo_db_demo_tcp_5432"},
		"a database by its IPv6 address":            {"tcp://x:5432", "fd00::5", "cds_egress_demo_db_demo_tcp_5432", "cds_egress_demo_db_demo_tcp_5432"},
		"a pod of a headless Service":               {"tcp://x:5432", "10.2.0.7", "cds_egress_demo_set_demo_tcp_5432", "cds_egress_demo_set_demo_tcp_5432"},
		"a pod that is not ready":                   {"tcp://x:5432", "10.2.0.8", "cds_egress_demo_set_demo_tcp_5432", "cds_egress_demo_set_demo_tcp_5432"},
		"a database outside by its TLS server name": {"https://db.eu-west-1.rds.amazonaws.com:5432", unknown, "cds_egress_demo_bucket_demo_tcp_5432", "cds_egress_demo_bucket_demo_tcp_5432"},
		"an unknown database in clear text":         {"tcp://x:5432", unknown, "HTTP", pass},
		"an unknown database by TLS":                {"https://x:5432", unknown, "", pass},
		"HTTP by the address of its Service":        {"http://web.demo.svc.cluster.local:5432", "10.1.0.6", "cds_egress_demo_web_demo_http_5432", "cds_egress_demo_web_demo_http_5432"},
		"HTTP by name at an unknown address":        {"http://web.demo.svc.cluster.local:5432", unknown, "cds_egress_demo_web_demo_http_5432", "cds_egress_demo_web_demo_http_5432"},
		"HTTP to a stranger":                        {"http://stranger:5432", unknown, "404", pass},
	} {
		t.Run(name, func(t *testing.T) {
			for file, want := range map[string]string{"ports": c.closing, "ports-open": c.open} {
				s := goldenSnapshot(t, file)
				r, err := explain.NewRequest("GET", c.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Address = netip.MustParseAddr(c.address)
				a, err := explain.From(s.Result.Model, s.Sets, "demo/front", r)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				switch h := a.Last(); {
				case len(h.Shares) == 1:
					got = h.Shares[0].Cluster
				case h.Status == 404:
					got = "404"
				case h.Outcome == "the port speaks HTTP in clear text: a connection that does not gets 400":
					got = "HTTP"
				}
				if got != want {
					t.Errorf("%s: reaches %q, want %q: %+v", file, got, want, a.Last())
				}
			}
		})
	}
}

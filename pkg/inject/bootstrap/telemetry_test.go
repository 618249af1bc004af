package bootstrap

import (
	"regexp"
	"testing"
)

// TestListenerTags compares the expressions with App Mesh's own.
func TestListenerTags(t *testing.T) {
	t.Parallel()
	original := map[string]*regexp.Regexp{
		"appmesh.listener_protocol": regexp.MustCompile(`.*?\.ingress\.((\w+?)\.)[0-9]+?\.(.+?)$`),
		"appmesh.listener_port":     regexp.MustCompile(`.*?\.ingress\.\w+?\.(([0-9]+?)\.)(.+?)$`),
		"envoy.rds_route_config":    regexp.MustCompile(`.*?\.ingress\.\w+?\.[0-9]+?\.rds\.((.*?)\.)(.+?)$`),
	}
	tagged := 0
	for _, stat := range []string{
		"http.ingress.http.8080.downstream_rq_total",
		"http.ingress.http2.8081.downstream_cx_http2_total",
		"http.ingress.grpc.9090.rds.rds_ingress_grpc_9090.update_success",
		"http.ingress.http.80.rbac.allowed",
		"http.ingress.downstream_rq_total",
		"http.ingress.rds.rds_ingress_http_8080.update_success",
		"http.egress.http.8080.downstream_rq_total",
		"http.egress.rds.rds_egress_http_8080.update_success",
		"listener.0.0.0.0_15000.http.ingress.http.8080.downstream_rq_2xx",
		"listener.[__]_15000.http.ingress.http.8080.downstream_rq_2xx",
		"listener.0.0.0.0_15000.http.ingress.downstream_rq_2xx",
		"listener.0.0.0.0_15000.downstream_cx_total",
		"tcp.ingress.tcp.5432.downstream_cx_total",
		"tcp.ingress.downstream_cx_total",
		"cluster.cds_ingress_m_front_ns_http_8080.upstream_rq_total",
		"cluster.cds_egress_m_front_ns_http_8080.zone.a.b.upstream_rq_200",
		"server.live",
	} {
		for name, theirs := range original {
			// Envoy searches; the first group goes from the name, the second is the value. The first expression of a name that matches counts.
			var got []int
			for _, tag := range listenerTags {
				if tag.Name == name && got == nil {
					got = regexp.MustCompile(tag.Value).FindStringSubmatchIndex(stat)
				}
			}
			want := theirs.FindStringSubmatchIndex(stat)
			if (want == nil) != (got == nil) || want != nil && ([4]int(want[2:6]) != [4]int(got[2:6])) {
				t.Errorf("%s of %s: got %v, App Mesh's is %v", name, stat, got, want)
			}
			if got != nil {
				tagged++
			}
		}
	}
	const want = 15
	if tagged != want {
		t.Errorf("%d tags were found, want %d", tagged, want)
	}
}

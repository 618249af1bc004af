package nameserver_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/nameserver"
)

const zone = "mesh.pvt.aws.local"

func table(more ...mesh.Name) *nameserver.Table {
	return nameserver.NewTable(append([]mesh.Name{
		{Name: "color." + zone, Zone: zone, Addresses: []string{"10.1.0.5", "fd00::5"}},
		{Name: "a.deep." + zone, Zone: zone, Addresses: []string{"240.1.2.3"}},
		{Name: "nobody." + zone, Zone: zone},
		{Name: "alone.example.org", Zone: "alone.example.org", Addresses: []string{"241.1.2.3"}},
	}, more...), "aftermesh-dns.aftermesh-system.svc.cluster.local")
}

// server runs on loopback until the test ends, and returns its address and a pointer to what it answers from.
func server(t *testing.T) (string, *atomic.Pointer[nameserver.Table]) {
	t.Helper()
	var current atomic.Pointer[nameserver.Table]
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := packets.LocalAddr().String()
	connections, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&nameserver.Server{Table: current.Load}).Serve(ctx, packets, connections) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	})
	return address, &current
}

func ask(t *testing.T, network, address, name string, kind uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), kind)
	return send(t, network, address, m)
}

func send(t *testing.T, network, address string, m *dns.Msg) *dns.Msg {
	t.Helper()
	in, _, err := (&dns.Client{Net: network, Timeout: 5 * time.Second}).Exchange(m, address)
	if err != nil {
		t.Fatalf("%v: %v", m.Question, err)
	}
	return in
}

// said is a response in short: code, flag, values and the zone whose end of authority it carries.
func said(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		out = append(out, "aa")
	}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		default:
			out = append(out, dns.TypeToString[rr.Header().Rrtype])
		}
	}
	for _, rr := range m.Ns {
		out = append(out, "of "+rr.Header().Name)
	}
	return strings.Join(out, " ")
}

func TestNamesAreAnswered(t *testing.T) {
	address, current := server(t)
	if got := said(ask(t, "udp", address, "color."+zone, dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("before the first model: %q", got)
	}
	current.Store(table())
	for name, c := range map[string]struct {
		name string
		kind uint16
		want string
	}{
		"an address":                            {"color." + zone, dns.TypeA, "NOERROR aa 10.1.0.5"},
		"an IPv6 address":                       {"color." + zone, dns.TypeAAAA, "NOERROR aa fd00::5"},
		"case does not matter":                  {"CoLoR." + zone, dns.TypeA, "NOERROR aa 10.1.0.5"},
		"another family":                        {"a.deep." + zone, dns.TypeAAAA, "NOERROR aa of mesh.pvt.aws.local."},
		"a name that nobody answers":            {"nobody." + zone, dns.TypeA, "NOERROR aa of mesh.pvt.aws.local."},
		"a name between":                        {"deep." + zone, dns.TypeA, "NOERROR aa of mesh.pvt.aws.local."},
		"an unknown name":                       {"other." + zone, dns.TypeA, "NXDOMAIN aa of mesh.pvt.aws.local."},
		"a name below a known one":              {"x.color." + zone, dns.TypeA, "NXDOMAIN aa of mesh.pvt.aws.local."},
		"a name that is its own zone":           {"alone.example.org", dns.TypeA, "NOERROR aa 241.1.2.3"},
		"the zone above a name that is its own": {"example.org", dns.TypeA, "REFUSED"},
		"a neighbour of a name that is its own": {"www.example.org", dns.TypeA, "REFUSED"},
		"the zone above a namespace":            {"pvt.aws.local", dns.TypeA, "REFUSED"},
		"a name of the cluster":                 {"kubernetes.default.svc.cluster.local", dns.TypeA, "REFUSED"},
		"the root":                              {".", dns.TypeNS, "REFUSED"},
		"the start of authority":                {zone, dns.TypeSOA, "NOERROR aa SOA"},
		"the servers of the zone":               {zone, dns.TypeNS, "NOERROR aa NS"},
		"everything at once is not answered":    {"color." + zone, dns.TypeANY, "NOERROR aa of mesh.pvt.aws.local."},
		"a text":                                {"color." + zone, dns.TypeTXT, "NOERROR aa of mesh.pvt.aws.local."},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(network+"/"+name, func(t *testing.T) {
				m := ask(t, network, address, c.name, c.kind)
				if got := said(m); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				for _, rr := range append(m.Answer, m.Ns...) {
					if ttl := rr.Header().Ttl; ttl > 5 {
						t.Errorf("%v holds for %d s", rr, ttl)
					}
					if soa, ok := rr.(*dns.SOA); ok && soa.Minttl > 3 {
						t.Errorf("a name that does not exist is remembered for %d s", soa.Minttl)
					}
				}
			})
		}
	}
	if got := said(ask(t, "tcp", address, zone, dns.TypeAXFR)); got != "REFUSED" {
		t.Errorf("a transfer of the zone: %q", got)
	}
	update := new(dns.Msg).SetUpdate(zone + ".")
	if got := said(send(t, "udp", address, update)); got != "NOTIMP" {
		t.Errorf("an update: %q", got)
	}
	chaos := new(dns.Msg)
	chaos.SetQuestion("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if got := said(send(t, "udp", address, chaos)); got != "REFUSED" {
		t.Errorf("another class: %q", got)
	}
}

func TestANewNameIsKnownAtOnce(t *testing.T) {
	address, current := server(t)
	current.Store(table())
	if got := said(ask(t, "udp", address, "new."+zone, dns.TypeA)); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Fatal(got)
	}
	current.Store(table(mesh.Name{Name: "new." + zone, Zone: zone, Addresses: []string{"242.0.0.1"}}))
	if got := said(ask(t, "udp", address, "new."+zone, dns.TypeA)); got != "NOERROR aa 242.0.0.1" {
		t.Error(got)
	}
}

// The largest answer there is fits in the smallest packet that a client may take.
func TestAnswersAreSmall(t *testing.T) {
	address, current := server(t)
	many := mesh.Name{Name: "many." + zone, Zone: zone}
	for _, last := range "abcdefgh" {
		many.Addresses = append(many.Addresses, "fd00::"+string(last)[:1])
	}
	many.Addresses[6], many.Addresses[7] = "fd00::1", "fd00::2"
	current.Store(table(many))
	for _, size := range []uint16{0, 512, 4096} {
		q := new(dns.Msg)
		q.SetQuestion("many."+zone+".", dns.TypeAAAA)
		if size > 0 {
			q.SetEdns0(size, true)
		}
		m := send(t, "udp", address, q)
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Answer) != 8 || m.Truncated || len(packed) > 512 {
			t.Errorf("size %d: %d addresses in %d bytes, cut: %v", size, len(m.Answer), len(packed), m.Truncated)
		}
	}
}

// TestAPanicCostsOneQuestion answers that the server failed.
func TestAPanicCostsOneQuestion(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, told := make(chan error, 1), make(chan any, 2)
	s := &nameserver.Server{Table: func() *nameserver.Table { panic("fault") }, Panicked: func(reason any, _ []byte) { told <- reason }}
	go func() { ended <- s.Serve(ctx, packets, connections) }()
	for _, network := range []string{"udp", "tcp"} {
		if m := ask(t, network, packets.LocalAddr().String(), "color."+zone, dns.TypeA); m.Rcode != dns.RcodeServerFailure || <-told != "fault" {
			t.Errorf("%s: %v", network, m)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

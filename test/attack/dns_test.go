package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// ledger is a name of no namespace that the bank has first.
const ledger = "ledger.bank-names.example"

// atDNS are attacks at the DNS port, which nobody needs a credential for.
var atDNS = map[string]func(context.Context, *target){
	"DNS: random names": func(ctx context.Context, x *target) {
		packets(ctx, x, func(random *rand.Rand) []byte {
			return question(fmt.Sprintf("%x.%x.bank-names.example.", random.Uint64(), random.Uint64()), dns.TypeA, dns.OpcodeQuery)
		})
	},
	"DNS: questions that are not for everybody": func(ctx context.Context, x *target) {
		kinds := []uint16{dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeNS, dns.TypeSOA}
		packets(ctx, x, func(random *rand.Rand) []byte {
			return question(ledger+".", kinds[random.IntN(len(kinds))], []int{dns.OpcodeQuery, dns.OpcodeUpdate, dns.OpcodeNotify}[random.IntN(3)])
		})
	},
	"DNS: packets of garbage": func(ctx context.Context, x *target) {
		packets(ctx, x, func(random *rand.Rand) []byte {
			const most, header = 60_000, 12
			b := make([]byte, 1+random.IntN(most))
			for i := range min(len(b), 2000) {
				b[i] = byte(random.Uint32())
			}
			if len(b) > header && random.IntN(2) == 0 {
				copy(b, []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, header}) // a name that points to itself
			}
			return b
		})
	},
	"DNS: connections that say nothing": func(ctx context.Context, x *target) {
		crowd(ctx, 400, func(ctx context.Context, i int) {
			x.connection(ctx, i, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
		})
	},
	"DNS: connections that say one byte at a time": func(ctx context.Context, x *target) {
		crowd(ctx, 400, func(ctx context.Context, i int) {
			x.connection(ctx, i, func(c net.Conn) {
				const longest, pause = 1 << 16, 100 * time.Millisecond
				for n := range longest {
					if _, err := c.Write([]byte{0xff}); err != nil || ctx.Err() != nil {
						return
					}
					time.Sleep(min(pause, time.Duration(n)*time.Millisecond))
				}
			})
		})
	},
	"DNS: zone transfers": func(ctx context.Context, x *target) {
		crowd(ctx, 64, func(ctx context.Context, i int) {
			x.connection(ctx, i, func(c net.Conn) {
				const often = 256
				ask := question("bank-names.example.", dns.TypeAXFR, dns.OpcodeQuery)
				frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(ask))), ask...)
				for range often {
					if _, err := c.Write(frame); err != nil {
						return
					}
					m, err := (&dns.Conn{Conn: c}).ReadMsg()
					if err != nil {
						return
					}
					if m.Rcode == dns.RcodeSuccess || len(m.Answer) > 0 {
						x.complain("a zone was transferred: %v", m)
					}
				}
			})
		})
	},
}

func question(name string, kind uint16, opcode int) []byte {
	m := new(dns.Msg).SetQuestion(name, kind)
	m.Opcode = opcode
	b, err := m.Pack()
	if err != nil {
		panic(err) // the name is wrong
	}
	return b
}

// packets sends UDP packets from all sources as fast as the machine lets a process of low priority.
func packets(ctx context.Context, x *target, packet func(*rand.Rand) []byte) {
	const senders, batch = 4 * sources, 200
	crowd(ctx, senders, func(ctx context.Context, i int) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from(i))}}
		c, err := d.DialContext(ctx, "udp", x.DNS)
		if err != nil {
			return
		}
		defer until(ctx, c)()
		random := rand.New(rand.NewPCG(uint64(i), 1))
		for range batch {
			_, _ = c.Write(packet(random)) // nobody waits for the answer
		}
	})
}

// connection opens a TCP connection to the DNS port and closes it after do, or when the context ends.
func (x *target) connection(ctx context.Context, i int, do func(net.Conn)) {
	c, err := dialer(from(i)).DialContext(ctx, "tcp", x.DNS)
	if err != nil {
		return
	}
	defer until(ctx, c)()
	do(c)
}

// resolve asks for the addresses of a name as resolvers do: a packet that gets lost is sent again, for four seconds at most.
func (w *World) resolve(ctx context.Context, network, name string) ([]string, error) {
	const tries, timeout = 8, 500 * time.Millisecond
	client := &dns.Client{Net: network, Timeout: timeout}
	var m *dns.Msg
	var err error
	for range tries {
		if m, _, err = client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name+".", dns.TypeA), w.Operator.DNSAddress()); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range m.Answer {
		out = append(out, r.(*dns.A).A.String())
	}
	return out, nil
}

// resolving asks for a name by UDP and TCP until the returned function is called, which says how often, and the longest time of each.
func (w *World) resolving(ctx context.Context, t *testing.T, name string, want []string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		all.Go(func() {
			const pause = 50 * time.Millisecond
			longest, count := time.Duration(0), 0
			for ; ctx.Err() == nil; count++ {
				begin := time.Now()
				got, err := w.resolve(context.WithoutCancel(ctx), network, name)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s by %s: %v, %v; want %v", name, network, got, err, want)
					return
				}
				longest = max(longest, time.Since(begin))
				time.Sleep(pause)
			}
			t.Logf("%d answers by %s, the slowest after %v", count, network, longest.Round(100*time.Microsecond))
		})
	}
	return func() { cancel(); all.Wait() }
}

// TestStrangersAtTheDNSPort: nothing that is sent to the DNS port keeps answers from others, or route changes from proxies.
func TestStrangersAtTheDNSPort(t *testing.T) {
	w := start(t)
	want := w.ledger(t)
	for _, name := range slices.Sorted(maps.Keys(atDNS)) {
		t.Run(name, func(t *testing.T) {
			stop := w.resolving(t.Context(), t, ledger, want)
			w.under(t, name)
			stop()
		})
	}
	t.Run("a tenant who claims the name", func(t *testing.T) { w.claim(t, want) })
}

// ledger gives the bank a name that only the operator's DNS server knows and returns its addresses.
func (w *World) ledger(t *testing.T) (addresses []string) {
	t.Helper()
	w.must(t, w.Bank, appmesh+"VirtualNode\nmetadata: {namespace: bank, name: ledger}\n"+
		"spec: {podSelector: {matchLabels: {app: ledger}}, listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: ledger.bank.svc.cluster.local}}}\n---\n"+
		appmesh+"VirtualService\nmetadata: {namespace: bank, name: ledger}\nspec: {awsName: "+ledger+", provider: {virtualNode: {virtualNodeRef: {name: ledger}}}}\n")
	err := await(t.Context(), "the name is answered", func() (err error) {
		if addresses, err = w.resolve(t.Context(), "udp", ledger); err == nil && len(addresses) == 0 {
			err = fmt.Errorf("there are no addresses")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}

// claim has a tenant claim the bank's name in every way that there is.
func (w *World) claim(t *testing.T, want []string) {
	service, zone, _ := strings.Cut(ledger, ".")
	w.must(t, w.Evil, appmesh+"VirtualNode\nmetadata: {namespace: evil, name: claimer}\n"+
		"spec: {podSelector: {matchLabels: {app: claimer}}, listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {awsCloudMap: {namespaceName: "+zone+", serviceName: "+service+"}}}\n---\n"+
		appmesh+"VirtualNode\nmetadata: {namespace: evil, name: hostname}\n"+
		"spec: {listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: "+ledger+"}}}\n")
	err := await(t.Context(), "the operator knows the node", func() error {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "probe", Labels: map[string]string{"app": "claimer"}}, Spec: corev1.PodSpec{
			ServiceAccountName: account, Containers: []corev1.Container{{Name: "app", Image: "app"}},
		}}
		return w.Evil.Create(t.Context(), p, client.DryRunAll)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.pod(t, w.Evil, evil, "claimer-0", map[string]string{"app": "claimer"}, nil)
	// Whether such a claim is refused at once or loses afterwards is not the question here.
	for _, name := range []string{ledger, strings.ToUpper(ledger), ledger + "."} {
		_ = w.Create(t.Context(), w.Evil, appmesh+"VirtualService\nmetadata: {namespace: evil, name: claim-"+fmt.Sprint(len(name), name[0])+"}\nspec: {awsName: "+name+", provider: {virtualNode: {virtualNodeRef: {name: claimer}}}}\n")
	}
	// A later object of the tenant has been judged: so have these.
	w.must(t, w.Evil, appmesh+"VirtualService\nmetadata: {namespace: evil, name: last}\nspec: {awsName: last."+zone+", provider: {virtualNode: {virtualNodeRef: {name: claimer}}}}\n")
	last := &meshv1beta2.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "last"}}
	w.condition(t, last, meshv1beta2.ConditionAccepted, func(metav1.Condition) bool { return true })
	err = await(t.Context(), "the tenant's own name is answered", func() error {
		got, err := w.resolve(t.Context(), "udp", "last."+zone)
		if err == nil && len(got) == 0 {
			err = fmt.Errorf("there are no addresses")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		if got, err := w.resolve(t.Context(), network, ledger); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s leads to %v (%v), want %v", ledger, got, err, want)
		}
	}
}

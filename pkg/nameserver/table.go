package nameserver

import (
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// Seconds for which resolvers may keep an answer, and one that says that a name does not exist.
const (
	answerTTL   = 5
	negativeTTL = 3
)

// Table answers questions about the hosts of one model. It is immutable.
type Table struct {
	server string // the name of the server, with its final dot
	zones  map[string]bool
	hosts  map[string][]netip.Addr
	// between are names that exist because others are below them.
	between map[string]bool
}

// NewTable returns the table of the given hosts. server is the name under which the server itself is known.
func NewTable(hosts []mesh.Name, server string) *Table {
	t := &Table{server: dns.Fqdn(server), zones: map[string]bool{}, hosts: map[string][]netip.Addr{}, between: map[string]bool{}}
	for _, h := range hosts {
		name, zone := dns.Fqdn(h.Name), dns.Fqdn(h.Zone)
		t.zones[zone] = true
		var list []netip.Addr
		for _, a := range h.Addresses {
			if ip, err := netip.ParseAddr(a); err == nil {
				list = append(list, ip)
			}
		}
		t.hosts[name] = list
		for above := parent(name); len(above) >= len(zone); above = parent(above) {
			t.between[above] = true
		}
	}
	return t
}

// parent cuts the first label off a name with a final dot.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// Zones returns the zones of the hosts, each with its hosts' first name, which stands for all of them.
func Zones(hosts []mesh.Name) map[string]string {
	out := map[string]string{}
	for _, h := range hosts {
		if _, known := out[h.Zone]; !known && len(h.Addresses) > 0 {
			out[h.Zone] = h.Name
		}
	}
	return out
}

// Answer returns the response to a question. A nil table, before the first model, fails every question.
func (t *Table) Answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = false
	if q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 {
		m.Rcode = dns.RcodeNotImplemented
		return m
	}
	asked := q.Question[0]
	switch {
	case t == nil:
		m.Rcode = dns.RcodeServerFailure
		return m
	case asked.Qclass != dns.ClassINET, asked.Qtype == dns.TypeAXFR, asked.Qtype == dns.TypeIXFR:
		m.Rcode = dns.RcodeRefused
		return m
	}
	name := strings.ToLower(asked.Name)
	zone := t.zoneOf(name)
	if zone == "" {
		m.Rcode = dns.RcodeRefused
		return m
	}
	m.Authoritative = true
	addresses, exists := t.hosts[name]
	header := dns.RR_Header{Name: asked.Name, Rrtype: asked.Qtype, Class: dns.ClassINET, Ttl: answerTTL}
	for _, a := range addresses {
		switch {
		case asked.Qtype == dns.TypeA && a.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: header, A: net.IP(a.AsSlice())})
		case asked.Qtype == dns.TypeAAAA && a.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: net.IP(a.AsSlice())})
		}
	}
	if name == zone {
		switch asked.Qtype {
		case dns.TypeSOA:
			m.Answer = append(m.Answer, t.soa(zone))
		case dns.TypeNS:
			m.Answer = append(m.Answer, &dns.NS{Hdr: header, Ns: t.server})
		}
	}
	if len(m.Answer) > 0 {
		return m
	}
	if !exists && !t.between[name] && name != zone {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = append(m.Ns, t.soa(zone))
	return m
}

// zoneOf returns the zone that a name is in, the longest one, or nothing.
func (t *Table) zoneOf(name string) string {
	for z := name; z != ""; z = parent(z) {
		if t.zones[z] {
			return z
		}
	}
	return ""
}

// soa says for how long resolvers may remember that a name does not exist.
func (t *Table) soa(zone string) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  t.server, Mbox: "hostmaster." + t.server, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}

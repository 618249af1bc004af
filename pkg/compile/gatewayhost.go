package compile

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// A route is repeated in the list of every host that it is a candidate for. All lists of a listener together hold at most
// expansionFactor entries per route, or expansionFloor in all; beyond that, one list serves all hosts.
const (
	expansionFactor = 4
	expansionFloor  = 1024
)

// gatewayHosts sorts routes, given in matching order, by host. Every host has all routes that its requests can take.
func gatewayHosts(list []hosted) []*mesh.Host {
	c := newCandidates(list)
	var domains []string
	for _, r := range list {
		domains = append(domains, r.host.domains()...)
	}
	slices.SortFunc(domains, compareDomains)
	domains = slices.Compact(domains)
	entries := 0
	for _, domain := range domains {
		entries += c.count(domain)
	}
	served := make([][]*mesh.Route, len(list))
	if entries > max(expansionFloor, expansionFactor*len(list)) {
		all := make([]int, len(list))
		for i, r := range list {
			served[i], all[i] = servedAs(r, true), i
		}
		return []*mesh.Host{gatewayHost([]string{anyDomain}, list, served, all)}
	}
	for i, r := range list {
		served[i] = servedAs(r, false)
	}
	type group struct {
		domains []string
		indexes []int
	}
	var groups []*group
	same := map[string]*group{} // by the indexes of the routes
	for _, domain := range domains {
		indexes := c.of(domain)
		key := fmt.Sprint(indexes)
		g := same[key]
		if g == nil {
			g = &group{indexes: indexes}
			same[key], groups = g, append(groups, g)
		}
		g.domains = append(g.domains, domain)
	}
	hosts := make([]*mesh.Host, len(groups))
	for i, g := range groups {
		hosts[i] = gatewayHost(g.domains, list, served, g.indexes)
	}
	return hosts
}

// gatewayHost returns the host of the domains, with the routes of the given indexes.
func gatewayHost(domains []string, list []hosted, served [][]*mesh.Route, indexes []int) *mesh.Host {
	h := &mesh.Host{Name: hostOf(domains[0]), Domains: domains}
	if domains[0] == anyDomain {
		h.Name = entranceHost
	}
	parts := []mesh.Hash{mesh.Fingerprint(&struct{ Domains []string }{domains})}
	for _, i := range indexes {
		h.Object = list[i].Object // the last one is the least specific: it brought the host
		h.Routes = append(h.Routes, served[i]...)
		parts = append(parts, list[i].fingerprint)
	}
	h.Fingerprint = mesh.Combine("entrance", strconv.Itoa(len(h.Routes)), mesh.Join(parts))
	return h
}

// servedAs returns what a gateway route becomes: two routes where a prefix without a final slash is replaced, because /paths/red becomes
// /red and /paths becomes /. Where all hosts share one list, the route itself compares the host.
func servedAs(r hosted, shared bool) []*mesh.Route {
	route := *r.Route
	if shared && r.host != (hostPattern{}) {
		of := mesh.ValueMatch{Name: ":authority", Kind: mesh.Regex, Value: authorities(r.host.domains())}
		route.Match.Headers = append([]mesh.ValueMatch{of}, route.Match.Headers...)
	}
	if route.Rewrite.Prefix == "" || strings.HasSuffix(route.Match.Path, "/") {
		return []*mesh.Route{&route}
	}
	below := route
	below.Match.Path += "/"
	return []*mesh.Route{&below, &route}
}

// authorities returns the expression that a request's authority matches exactly when Envoy would find one of the domains for it while
// it ignores ports: it compares without case, and cuts off what follows the last colon unless that stands in brackets.
func authorities(domains []string) string {
	const port = `:[^:\]]*`
	alternatives := make([]string, len(domains))
	for i, d := range domains {
		end, wild := strings.CutPrefix(d, "*")
		alternatives[i] = regexp.QuoteMeta(end)
		if wild {
			alternatives[i] = ".+" + alternatives[i]
		}
		if strings.LastIndexByte(end, ':') > strings.LastIndexByte(end, ']') {
			alternatives[i] += port // else Envoy would cut off a part of the domain itself
		} else {
			alternatives[i] += "(" + port + ")?"
		}
	}
	return "(?i)" + strings.Join(alternatives, "|")
}

// candidates finds the routes for a domain without looking at every route.
type candidates struct {
	byPattern map[hostPattern][]int
	// lengths of the endings that occur.
	lengths []int
}

func newCandidates(list []hosted) candidates {
	c := candidates{byPattern: map[hostPattern][]int{}}
	for i, r := range list {
		c.byPattern[r.host] = append(c.byPattern[r.host], i)
		if n := len(r.host.suffix); n > 0 && !slices.Contains(c.lengths, n) {
			c.lengths = append(c.lengths, n)
		}
	}
	return c
}

// each calls f with the indexes of the routes of every pattern that has all hosts of the domain.
func (c candidates) each(domain string, f func([]int)) {
	f(c.byPattern[hostPattern{}])
	if domain == anyDomain {
		return
	}
	end, wild := strings.CutPrefix(domain, "*")
	if !wild {
		f(c.byPattern[hostPattern{exact: domain}])
	}
	for _, n := range c.lengths {
		if n > len(end) {
			continue
		}
		suffix := end[len(end)-n:]
		if n == len(end) && !wild && strings.ContainsAny(suffix[:1], ".-") {
			continue // such an ending asks for something before it
		}
		f(c.byPattern[hostPattern{suffix: suffix}])
	}
}

func (c candidates) count(domain string) int {
	n := 0
	c.each(domain, func(indexes []int) { n += len(indexes) })
	return n
}

// of returns the indexes of a domain's routes, in matching order.
func (c candidates) of(domain string) []int {
	var out []int
	c.each(domain, func(indexes []int) { out = append(out, indexes...) })
	slices.Sort(out)
	return out
}

// compareDomains puts names before endings, longer endings before shorter ones.
func compareDomains(x, y string) int {
	wildX, wildY := x[0] == '*', y[0] == '*'
	switch {
	case wildX && wildY:
		return cmp.Or(cmp.Compare(len(y), len(x)), cmp.Compare(x, y))
	case wildX:
		return 1
	case wildY:
		return -1
	default:
		return cmp.Compare(x, y)
	}
}

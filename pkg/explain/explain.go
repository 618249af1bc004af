package explain

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// routeTimeout is Envoy's limit of a request where a route says nothing.
const routeTimeout = "15s"

// maxHops bounds requests that lead back to the proxy; a gateway's take two.
const maxHops = 4

// explainer reads the resources of one group.
type explainer struct {
	workload *mesh.Workload
	set      *xds.Set
	causes   *causes
}

// Explain says what a request meets in the proxies of g, whose resources are set. A request of a sidecar is one that its
// application sends; a request of a gateway is one that arrives from outside. The error says what could not be judged.
func Explain(g *mesh.Group, set *xds.Set, r *Request) (*Answer, error) {
	e := &explainer{workload: g.Workload, set: set, causes: newCauses(g.Workload)}
	a := &Answer{Proxy: g.ID}
	now := *r
	now.Headers = maps.Clone(r.Headers)
	if now.Headers == nil {
		now.Headers = map[string]string{}
	}
	if !now.Address.IsValid() {
		now.Address = e.causes.address(now.Host)
	}
	inbound := g.Workload.ID.Gateway
	var piped *listenerv3.Listener
	for len(a.Hops) < maxHops {
		l, err := piped, error(nil)
		if l == nil {
			l, err = e.entry(inbound, &now)
		}
		if err != nil {
			return nil, err
		}
		if l == nil {
			a.Hops = append(a.Hops, &Hop{Outcome: fmt.Sprintf("nothing listens on port %d%s", now.Port, e.ports())})
			return a, nil
		}
		h, err := e.hop(l, &now)
		if err != nil {
			return nil, err
		}
		a.Hops = append(a.Hops, h)
		if piped, err = e.piped(h); err != nil {
			return nil, err
		}
		if piped != nil {
			h.Outcome = "the first bytes of the connection decide"
			continue
		}
		next, ok := e.loopback(h)
		if !ok {
			return a, nil
		}
		h.Outcome = "enters the same proxy again"
		now.Address, now.Port, now.Scheme, inbound = next.Addr(), uint32(next.Port()), "http", false
	}
	return nil, fmt.Errorf("the request enters the proxy again and again (%d times)", maxHops)
}

// entry returns the listener that takes a connection: what applications send is redirected to the outbound one, while a gateway
// is dialled at the port itself.
func (e *explainer) entry(inbound bool, r *Request) (*listenerv3.Listener, error) {
	for _, res := range e.set.Resources(xds.ListenerType) {
		l, err := message[*listenerv3.Listener](res)
		if err != nil {
			return nil, err
		}
		outbound := l.TrafficDirection == corev3.TrafficDirection_OUTBOUND && l.GetAddress().GetPipe() == nil
		if !inbound && outbound || inbound && !outbound && l.GetAddress().GetSocketAddress().GetPortValue() == r.Port {
			return l, nil
		}
	}
	return nil, nil
}

// hop follows the request through one listener and changes it as the route says.
func (e *explainer) hop(l *listenerv3.Listener, r *Request) (*Hop, error) {
	h := &Hop{Listener: l.Name}
	fc, byDefault := chooseChain(l, r)
	if fc == nil {
		h.Outcome = e.closed(l, r)
		return h, nil
	}
	h.Chain, h.DefaultChain = fc.Name, byDefault
	for _, f := range fc.Filters {
		m, err := f.GetTypedConfig().UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("read filter %s of chain %s: %w", f.Name, fc.Name, err)
		}
		switch m := m.(type) {
		case *tcpv3.TcpProxy:
			err := e.tcp(h, m)
			if ports, object := e.portsOf(hostOnly(r.Host)); byDefault && len(ports) > 0 && !slices.Contains(ports, r.Port) {
				h.Outcome += fmt.Sprintf(", past the mesh: %s has %s, not %d", object, portList(ports), r.Port)
			}
			return h, err
		case *hcmv3.HttpConnectionManager:
			if r.Scheme == "tcp" || r.Scheme == "https" && fc.TransportSocket == nil {
				h.Outcome = "the port speaks HTTP in clear text: a connection that does not gets 400"
				return h, nil
			}
			r.Encrypted = fc.TransportSocket != nil && r.Scheme == "https"
			return h, e.request(h, m, r)
		}
	}
	return nil, fmt.Errorf("chain %s has no filter that can be judged", fc.Name)
}

// request follows a request that a connection manager reads.
func (e *explainer) request(h *Hop, m *hcmv3.HttpConnectionManager, r *Request) error {
	status, why := decode(m, r)
	unread := status != 0
	if !unread {
		status, why = arrive(m, r)
	}
	if status != 0 {
		h.Status, h.Outcome = status, fmt.Sprintf("the proxy itself answers %d: %s", status, why)
	} else {
		h.RouteConfiguration = m.GetRds().GetRouteConfigName()
		if err := e.http(h, r); err != nil {
			return err
		}
	}
	if h.Status != 0 && !unread && isGRPC(r) && r.Method != "CONNECT" {
		h.GRPCStatus = grpcStatus(h.Status)
		h.Outcome += fmt.Sprintf(" (grpc-status %d)", h.GRPCStatus)
	}
	return nil
}

func (e *explainer) tcp(h *Hop, t *tcpv3.TcpProxy) error {
	h.IdleTimeout = duration(t.IdleTimeout)
	h.Outcome = "the connection is passed on as it is"
	var list []weighted
	if c := t.GetCluster(); c != "" {
		list = []weighted{{c, 1}}
	}
	for _, w := range t.GetWeightedClusters().GetClusters() {
		list = append(list, weighted{w.Name, w.Weight})
	}
	if err := e.shares(h, list); err != nil {
		return err
	}
	if !slices.ContainsFunc(h.Shares, Share.leads) {
		h.Outcome = "the connection is closed: no cluster of the chain leads anywhere"
	}
	return nil
}

func (e *explainer) http(h *Hop, r *Request) error {
	res := e.set.Get(xds.RouteType, h.RouteConfiguration)
	if res == nil {
		return fmt.Errorf("the route configuration %s of chain %s does not exist", h.RouteConfiguration, h.Chain)
	}
	rc, err := message[*routev3.RouteConfiguration](res)
	if err != nil {
		return err
	}
	vh, domain := chooseHost(rc, r.Host)
	if vh == nil {
		h.Status, h.Outcome = 404, fmt.Sprintf("404: no virtual host has the name %q%s", r.Host, e.callable())
		return nil
	}
	h.VirtualHost, h.Domain, h.Cause = vh.Name, domain, e.causes.host(vh.Name)
	for _, route := range vh.Routes {
		why, err := mismatch(route.Match, r)
		if err != nil {
			return fmt.Errorf("route %s of %s: %w", route.Name, vh.Name, err)
		}
		if why != "" {
			h.Missed = append(h.Missed, Miss{route.Name, why})
			continue
		}
		h.Route = route.Name
		if c := e.causes.route(vh.Name, route.Name); c != "" {
			h.Cause = c
		}
		if u := r.upgrade(); u != "" && !upgrades(route, u) {
			h.Status, h.Outcome = 403, fmt.Sprintf("the proxy itself answers 403: the route passes no upgrade to %q on; only WebSocket to backends that speak http", u)
			return nil
		}
		return e.take(h, route, r)
	}
	h.Status, h.Outcome = 404, fmt.Sprintf("404: none of the %d routes of %s matches", len(vh.Routes), vh.Name)
	return nil
}

// take applies the route that matched.
func (e *explainer) take(h *Hop, route *routev3.Route, r *Request) error {
	if d := route.GetDirectResponse(); d != nil {
		h.Status, h.Outcome = d.Status, fmt.Sprintf("the proxy itself answers %d", d.Status)
		return nil
	}
	a := route.GetRoute()
	if a == nil {
		return fmt.Errorf("the action of route %s cannot be judged", route.Name)
	}
	h.Timeout, h.IdleTimeout, h.Retry = cmp.Or(duration(a.Timeout), routeTimeout), duration(a.IdleTimeout), retry(a.RetryPolicy)
	if err := rewrite(route, a, r); err != nil {
		return err
	}
	h.Host, h.Path, h.Outcome = r.Host, r.Path, "the request is forwarded"
	if c := a.GetCluster(); c != "" {
		return e.shares(h, []weighted{{c, 1}})
	}
	var list []weighted
	for _, w := range a.GetWeightedClusters().GetClusters() {
		list = append(list, weighted{w.Name, w.GetWeight().GetValue()})
	}
	if list == nil {
		return fmt.Errorf("the clusters of route %s cannot be judged", route.Name)
	}
	return e.shares(h, list)
}

// piped returns the listener of the proxy itself to which a hop hands connections over with their addresses.
func (e *explainer) piped(h *Hop) (*listenerv3.Listener, error) {
	if len(h.Shares) != 1 || len(h.Shares[0].Endpoints) != 1 {
		return nil, nil
	}
	for _, res := range e.set.Resources(xds.ListenerType) {
		l, err := message[*listenerv3.Listener](res)
		if err != nil {
			return nil, err
		}
		if path := l.GetAddress().GetPipe().GetPath(); path != "" && path == h.Shares[0].Endpoints[0] {
			return l, nil
		}
	}
	return nil, nil
}

// loopback returns where the request goes when its only cluster is the proxy's own outbound port.
func (e *explainer) loopback(h *Hop) (netip.AddrPort, bool) {
	if len(h.Shares) != 1 || h.Shares[0].Discovery != "STATIC" || len(h.Shares[0].Endpoints) != 1 {
		return netip.AddrPort{}, false
	}
	to, err := netip.ParseAddrPort(h.Shares[0].Endpoints[0])
	if err != nil || !to.Addr().IsLoopback() {
		return netip.AddrPort{}, false
	}
	for _, res := range e.set.Resources(xds.ListenerType) {
		l, err := message[*listenerv3.Listener](res)
		if err == nil && l.TrafficDirection == corev3.TrafficDirection_OUTBOUND && l.GetAddress().GetSocketAddress().GetPortValue() == uint32(to.Port()) {
			return to, true
		}
	}
	return netip.AddrPort{}, false
}

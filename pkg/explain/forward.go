package explain

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/aftermesh/aftermesh/pkg/xds"
)

// weighted is one cluster of a route with its weight.
type weighted struct {
	name   string
	weight uint32
}

// message decodes a resource of a known type.
func message[M proto.Message](res *xds.Resource) (M, error) {
	var none M
	m, err := res.Message()
	if err != nil {
		return none, fmt.Errorf("decode %s: %w", res.Name, err)
	}
	typed, ok := m.(M)
	if !ok {
		return none, fmt.Errorf("decode %s: it is a %T", res.Name, m)
	}
	return typed, nil
}

func duration(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return d.AsDuration().String()
}

func retry(p *routev3.RetryPolicy) *Retry {
	if p == nil {
		return nil
	}
	n := uint32(1) // Envoy's default
	if p.NumRetries != nil {
		n = p.NumRetries.Value
	}
	return &Retry{On: p.RetryOn, StatusCodes: p.RetriableStatusCodes, Max: n, PerTryTimeout: duration(p.PerTryTimeout)}
}

// upgrades is true when a route passes an upgrade on.
func upgrades(route *routev3.Route, to string) bool {
	for _, u := range route.GetRoute().GetUpgradeConfigs() {
		if strings.EqualFold(u.UpgradeType, to) {
			return u.Enabled == nil || u.Enabled.Value
		}
	}
	return false
}

// leads is true when connections to the cluster reach something.
func (s Share) leads() bool {
	return s.Defined && s.Percent > 0 && (len(s.Endpoints) > 0 || s.Discovery == "ORIGINAL_DST")
}

// shares adds clusters in the order of the route.
func (e *explainer) shares(h *Hop, list []weighted) error {
	total := 0.0
	for _, w := range list {
		total += float64(w.weight)
	}
	for _, w := range list {
		s := Share{Cluster: w.name, Cause: e.causes.clusters[w.name]}
		if total > 0 {
			s.Percent = 100 * float64(w.weight) / total
		}
		if res := e.set.Get(xds.ClusterType, w.name); res != nil {
			c, err := message[*clusterv3.Cluster](res)
			if err != nil {
				return err
			}
			s.Defined, s.TLS, s.Discovery = true, c.TransportSocket != nil || len(c.TransportSocketMatches) > 0, c.GetType().String()
			if s.Endpoints, err = e.endpoints(c); err != nil {
				return err
			}
		}
		h.Shares = append(h.Shares, s)
	}
	return nil
}

func (e *explainer) endpoints(c *clusterv3.Cluster) ([]string, error) {
	a := c.LoadAssignment
	if c.GetType() == clusterv3.Cluster_EDS {
		name := c.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = c.Name
		}
		res := e.set.Get(xds.EndpointType, name)
		if res == nil {
			return nil, nil
		}
		var err error
		if a, err = message[*endpointv3.ClusterLoadAssignment](res); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, locality := range a.GetEndpoints() {
		for _, le := range locality.LbEndpoints {
			if path := le.GetEndpoint().GetAddress().GetPipe().GetPath(); path != "" {
				out = append(out, path)
				continue
			}
			s := le.GetEndpoint().GetAddress().GetSocketAddress()
			address := net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue())))
			if len(c.TransportSocketMatches) > 0 && le.GetMetadata() != nil {
				address += " (clear text)"
			}
			out = append(out, address)
		}
	}
	return out, nil
}

// rewrite changes the request as the route says: headers, then path, then host.
func rewrite(route *routev3.Route, a *routev3.RouteAction, r *Request) error {
	for _, name := range route.RequestHeadersToRemove {
		delete(r.Headers, strings.ToLower(name))
	}
	for _, o := range route.RequestHeadersToAdd {
		value := strings.ReplaceAll(o.GetHeader().GetValue(), "%%", "\x00")
		if strings.Contains(value, "%") {
			return fmt.Errorf("route %s sets the header %s from a format, which cannot be judged", route.Name, o.GetHeader().GetKey())
		}
		r.Headers[strings.ToLower(o.GetHeader().GetKey())] = strings.ReplaceAll(value, "\x00", "%")
	}
	if err := rewritePath(route.Match, a, r); err != nil {
		return err
	}
	if host := a.GetHostRewriteLiteral(); host != "" {
		r.Host = host
	}
	return nil
}

// rewritePath replaces the part of the path that matched, or all that an expression finds. The query stays.
func rewritePath(m *routev3.RouteMatch, a *routev3.RouteAction, r *Request) error {
	path, query, has := strings.Cut(r.Path, "?")
	switch {
	case a.PrefixRewrite != "":
		if _, ok := m.PathSpecifier.(*routev3.RouteMatch_Prefix); ok {
			path = a.PrefixRewrite + path[len(m.GetPrefix()):]
		} else {
			path = a.PrefixRewrite
		}
	case a.RegexRewrite != nil:
		re, err := regexp.Compile(a.RegexRewrite.GetPattern().GetRegex())
		if err != nil {
			return fmt.Errorf("read the expression of a rewrite: %w", err)
		}
		path = re.ReplaceAllString(path, template(a.RegexRewrite.Substitution))
	}
	r.Path = path
	if has {
		r.Path += "?" + query
	}
	return nil
}

var backReference = regexp.MustCompile(`\\(\\|[0-9])`)

// template turns RE2's \1 and \\ into Go's ${1} and a backslash.
func template(s string) string {
	return backReference.ReplaceAllStringFunc(strings.ReplaceAll(s, "$", "$$"), func(m string) string {
		if m[1] == '\\' {
			return `\`
		}
		return "${" + m[1:] + "}"
	})
}

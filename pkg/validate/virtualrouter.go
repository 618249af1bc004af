package validate

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func (j *judge) virtualRouter(spec *field.Path, s *meshv1beta2.VirtualRouterSpec) {
	ports := make([]int64, len(s.Listeners))
	for i := range s.Listeners {
		ports[i] = s.Listeners[i].PortMapping.Port
	}
	j.listenerPorts(spec.Child("listeners"), ports, false)
	if len(s.Listeners) == 0 {
		j.add("X17", spec.Child("listeners"), true, "the router has no listeners, so no port of its services is served; add the port that clients call")
	}
	names := map[string]bool{}
	for i := range s.Routes {
		r, path := &s.Routes[i], spec.Child("routes").Index(i)
		if names[r.Name] {
			j.add("R2", path.Child("name"), r.Name, "VirtualRouter-%s has duplicate route entries for %s; give every route a name of its own", shortName(j.object), r.Name)
		}
		names[r.Name] = true
		j.route(path, r.Name, &r.RouteBody)
	}
}

// routerPaths are the rules about paths of router routes.
var routerPaths = pathRules{
	missing: "R3", missingWords: "Either Prefix or Path must be specified",
	both: "R4", bothWords: "Both Prefix and Path cannot be specified, only 1 allowed",
	path: "R5",
}

// route judges an inline route or a Route object; name is the route's.
func (j *judge) route(path *field.Path, name string, r *meshv1beta2.RouteBody) {
	j.exactlyOne("U16", path, "route "+name,
		member{"httpRoute", r.HTTPRoute != nil}, member{"http2Route", r.HTTP2Route != nil},
		member{"grpcRoute", r.GRPCRoute != nil}, member{"tcpRoute", r.TCPRoute != nil})
	j.httpRoute(path.Child("httpRoute"), name, r.HTTPRoute)
	j.httpRoute(path.Child("http2Route"), name, r.HTTP2Route)
	if g := r.GRPCRoute; g != nil {
		match := path.Child("grpcRoute", "match")
		if g.Match.MethodName != nil && (g.Match.ServiceName == nil || *g.Match.ServiceName == "") {
			j.add("D2", match.Child("methodName"), *g.Match.MethodName, "methodName %q needs a serviceName; add the fully qualified name of the gRPC service", *g.Match.MethodName)
		}
		j.valueMatches(match.Child("metadata"), "U18", "metadata", g.Match.Metadata)
		j.routeAction(path.Child("grpcRoute", "action"), name, &g.Action)
	}
	if t := r.TCPRoute; t != nil {
		j.routeAction(path.Child("tcpRoute", "action"), name, &t.Action)
	}
}

func (j *judge) httpRoute(path *field.Path, name string, r *meshv1beta2.HTTPRoute) {
	if r == nil {
		return
	}
	match := path.Child("match")
	j.prefixOrPath(match, routerPaths, r.Match.Prefix, r.Match.Path, false)
	j.valueMatches(match.Child("headers"), "U18", "header", r.Match.Headers)
	j.queryParameters(match.Child("queryParameters"), r.Match.QueryParameters)
	j.routeAction(path.Child("action"), name, &r.Action)
}

// routeAction judges the targets of a route.
func (j *judge) routeAction(path *field.Path, name string, a *meshv1beta2.RouteAction) {
	targets, total := path.Child("weightedTargets"), int64(0)
	for i := range a.WeightedTargets {
		t := &a.WeightedTargets[i]
		total += t.Weight
		j.reference(targets.Index(i), meshv1beta2.ARNVirtualNode, "U14", "X4", t.VirtualNodeRef, t.VirtualNodeARN)
	}
	if total == 0 && len(a.WeightedTargets) > 0 {
		j.add("X15", targets, name, "all weights of route %s are 0, so it answers 503; give at least one target a weight", name)
	}
}

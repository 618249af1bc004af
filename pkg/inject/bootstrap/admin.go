package bootstrap

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	rbacfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// pipeMode lets only the proxy's own user open the admin pipe.
const pipeMode = 0o600

// addAdmin puts the admin interface on its pipe, with the filtered port in front of it, or on the port itself when the
// settings ask for that.
func (w *writer) addAdmin(b *bootstrapv3.Bootstrap) {
	a := w.settings.Admin
	if a.Open && !a.ReadyOnly && a.Port != 0 {
		b.Admin = &bootstrapv3.Admin{Address: w.anyAddress(a.Port)}
		return
	}
	b.Admin = &bootstrapv3.Admin{Address: pipeAddress(a.Pipe, pipeMode)}
	if a.Port == 0 {
		return
	}
	b.StaticResources.Clusters = append(b.StaticResources.Clusters, pipeCluster(AdminCluster, a.Pipe))
	b.StaticResources.Listeners = append(b.StaticResources.Listeners, &listenerv3.Listener{
		Name:    AdminListener,
		Address: w.anyAddress(a.Port),
		// The way to look into an overloaded proxy must not be closed by its overload.
		IgnoreGlobalConnLimit: true,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: w.any(w.adminConnections())},
		}}}},
	})
}

// anyAddress is port on all addresses of the pod.
func (w *writer) anyAddress(port uint16) *corev3.Address {
	if w.settings.IPFamilies == "6" || w.settings.IPFamilies == "46" {
		address := socketAddress("::", port, corev3.SocketAddress_TCP)
		address.GetSocketAddress().Ipv4Compat = true
		return address
	}
	return socketAddress("0.0.0.0", port, corev3.SocketAddress_TCP)
}

func (w *writer) adminConnections() *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: AdminListener,
		// The rule below judges the path, so it must be the path that the admin interface will see.
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		GenerateRequestId:            wrapperspb.Bool(false),
		HttpFilters: []*hcmv3.HttpFilter{
			{Name: "envoy.filters.http.rbac", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: w.any(adminAccess(w.settings.Admin.ReadyOnly))}},
			{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: w.any(&routerv3.Router{DynamicStats: wrapperspb.Bool(false)})}},
		},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name: AdminListener,
			VirtualHosts: []*routev3.VirtualHost{{
				Name: AdminListener, Domains: []string{"*"},
				Routes: []*routev3.Route{{
					Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
					Action: &routev3.Route_Route{Route: &routev3.RouteAction{
						ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: AdminCluster},
						// Profiles and taps last as long as they like.
						Timeout: duration(0),
					}},
				}},
			}},
		}},
	}
}

// adminAccess lets callers on loopback do everything and all others only look: whether the proxy is ready, and its statistics. Never its
// configuration, which names every backend; /server_info shows all of the bootstrap, which is in Envoy's arguments. readyOnly leaves
// everybody nothing but the first.
func adminAccess(readyOnly bool) *rbacfilterv3.RBAC {
	loopback := &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}}
	paths := []*rbacv3.Permission{path(exact("/ready"))}
	if readyOnly {
		loopback = paths[0]
	} else {
		paths = append(paths, path(exact("/stats")), path(prefix("/stats/")))
	}
	return &rbacfilterv3.RBAC{Rules: &rbacv3.RBAC{
		Action: rbacv3.RBAC_ALLOW,
		Policies: map[string]*rbacv3.Policy{
			"loopback": {
				Permissions: []*rbacv3.Permission{loopback},
				Principals:  []*rbacv3.Principal{peers("127.0.0.0", 8), peers("::1", 128)},
			},
			"outside": {
				Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: []*rbacv3.Permission{
					{Rule: &rbacv3.Permission_Header{Header: &routev3.HeaderMatcher{
						Name:                 ":method",
						HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exact("GET")},
					}}},
					{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: paths}}},
				}}}}},
				Principals: []*rbacv3.Principal{{Identifier: &rbacv3.Principal_Any{Any: true}}},
			},
		},
	}}
}

func peers(address string, bits uint32) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_DirectRemoteIp{DirectRemoteIp: &corev3.CidrRange{
		AddressPrefix: address, PrefixLen: wrapperspb.UInt32(bits),
	}}}
}

func path(m *matcherv3.StringMatcher) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{UrlPath: &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: m}}}}
}

func exact(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: text}}
}

func prefix(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: text}}
}

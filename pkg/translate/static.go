package translate

import (
	"fmt"
	"slices"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Static returns the set of a group as one complete configuration without any control plane: route configurations stand in their
// listeners and assignments in their clusters. It is for Envoy's own validation and for reading.
func Static(g *mesh.Group, set *xds.Set) (*bootstrapv3.Bootstrap, error) {
	b := &bootstrapv3.Bootstrap{
		Node:            &corev3.Node{Id: g.Workload.ID.String(), Cluster: g.Workload.ID.String()},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{},
	}
	for _, r := range set.Resources(xds.ClusterType) {
		c, err := decode[*clusterv3.Cluster](r)
		if err != nil {
			return nil, err
		}
		if c.GetEdsClusterConfig() != nil {
			if err := inlineEndpoints(c, set); err != nil {
				return nil, err
			}
		}
		if err := inlineSecrets(c.TransportSocket, set); err != nil {
			return nil, err
		}
		b.StaticResources.Clusters = append(b.StaticResources.Clusters, c)
	}
	for _, r := range set.Resources(xds.SecretType) {
		s, err := decode[*tlsv3.Secret](r)
		if err != nil {
			return nil, err
		}
		b.StaticResources.Secrets = append(b.StaticResources.Secrets, s)
	}
	b.StaticResources.Clusters = append(b.StaticResources.Clusters, providerCluster())
	for _, r := range set.Resources(xds.ListenerType) {
		l, err := decode[*listenerv3.Listener](r)
		if err != nil {
			return nil, err
		}
		for _, fc := range append(l.FilterChains, l.DefaultFilterChain) {
			if err := inlineRoutes(fc, set); err != nil {
				return nil, err
			}
			if err := inlineSecrets(fc.GetTransportSocket(), set); err != nil {
				return nil, err
			}
		}
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, l)
	}
	return b, nil
}

func decode[M any](r *xds.Resource) (M, error) {
	var zero M
	m, err := r.Message()
	if err != nil {
		return zero, err
	}
	out, ok := m.(M)
	if !ok {
		return zero, fmt.Errorf("resource %s is a %T", r.Name, m)
	}
	return out, nil
}

func find(set *xds.Set, typeURL, name string) *xds.Resource {
	for _, r := range set.Resources(typeURL) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// inlineEndpoints makes an EDS cluster static.
func inlineEndpoints(c *clusterv3.Cluster, set *xds.Set) error {
	r := find(set, xds.EndpointType, c.EdsClusterConfig.ServiceName)
	if r == nil {
		return fmt.Errorf("no assignment for cluster %s", c.Name)
	}
	a, err := decode[*endpointv3.ClusterLoadAssignment](r)
	if err != nil {
		return err
	}
	a.ClusterName = c.Name
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.EdsClusterConfig, c.LoadAssignment = nil, a
	return nil
}

// inlineSecrets makes a transport socket take what we would deliver from the static secrets. What nobody has is looked for in an empty
// file, so that it is missing here too.
func inlineSecrets(s *corev3.TransportSocket, set *xds.Set) error {
	if s == nil {
		return nil
	}
	m, err := s.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return err
	}
	var common *tlsv3.CommonTlsContext
	switch c := m.(type) {
	case *tlsv3.DownstreamTlsContext:
		common = c.CommonTlsContext
	case *tlsv3.UpstreamTlsContext:
		common = c.CommonTlsContext
	}
	configs := slices.Clone(common.GetTlsCertificateSdsSecretConfigs())
	if v := common.GetCombinedValidationContext(); v != nil {
		configs = append(configs, v.ValidationContextSdsSecretConfig)
	}
	for _, c := range configs {
		switch {
		case c.SdsConfig.GetAds() == nil: // the pod's own provider has it
		case find(set, xds.SecretType, c.Name) != nil:
			c.SdsConfig = nil
		default:
			c.SdsConfig.ConfigSourceSpecifier = &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{Path: "/dev/null"}}
		}
	}
	typed, err := pack(m)
	if err != nil {
		return err
	}
	s.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: typed}
	return nil
}

// providerCluster leads to the pod's provider of secrets, as the bootstrap's own cluster does.
func providerCluster() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: sdsCluster, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: sdsCluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/run/spire/sockets/agent.sock"}}},
			}}}},
		}}},
	}
}

// inlineRoutes puts the route configurations of a chain's HTTP filters in place.
func inlineRoutes(fc *listenerv3.FilterChain, set *xds.Set) error {
	for _, f := range fc.GetFilters() {
		m, err := f.GetTypedConfig().UnmarshalNew()
		if err != nil {
			return err
		}
		hcm, ok := m.(*hcmv3.HttpConnectionManager)
		if !ok || hcm.GetRds() == nil {
			continue
		}
		r := find(set, xds.RouteType, hcm.GetRds().RouteConfigName)
		if r == nil {
			return fmt.Errorf("no route configuration %s", hcm.GetRds().RouteConfigName)
		}
		rc, err := decode[*routev3.RouteConfiguration](r)
		if err != nil {
			return err
		}
		// Over RDS, Envoy lets a share go to a cluster that does not exist, which answers 503; so it must here.
		rc.ValidateClusters = wrapperspb.Bool(false)
		hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: rc}
		typed, err := pack(hcm)
		if err != nil {
			return err
		}
		f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: typed}
	}
	return nil
}

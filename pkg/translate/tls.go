package translate

import (
	"net/netip"
	"path"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// secretTimeout is how long a listener or cluster waits for a secret before it fails closed: one certificate that never comes
// must not keep a pod from starting.
const secretTimeout = 5 * time.Second

// curves are those of App Mesh's upstream connections. Source: dumps of App Mesh's configuration.
var curves = []string{"X25519", "P-256", "P-521", "P-384"}

// downstreamTLS returns the encryption of a listener's chain. socket says whether the pod has a provider of secrets of its own.
func downstreamTLS(t *mesh.ServerTLS, http, socket bool) (*corev3.TransportSocket, error) {
	c := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretConfig(t.Certificate, socket)},
	}}
	if http {
		c.CommonTlsContext.AlpnProtocols = []string{"h2", "http/1.1"}
	}
	if t.Clients != nil {
		c.RequireClientCertificate = wrapperspb.Bool(true)
		c.CommonTlsContext.ValidationContextType = validation(t.Clients, socket)
	}
	return transportSocket(c)
}

// upstreamTLS returns the encryption of a cluster.
func upstreamTLS(t *mesh.ClientTLS, p mesh.Protocol, socket bool) (*corev3.TransportSocket, error) {
	c := &tlsv3.UpstreamTlsContext{Sni: t.ServerName, CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{EcdhCurves: curves},
	}}
	if p == mesh.HTTP2 || p == mesh.GRPC {
		c.CommonTlsContext.AlpnProtocols = []string{"h2"}
	}
	if t.Server != nil {
		c.CommonTlsContext.ValidationContextType = validation(t.Server, socket)
	}
	if t.Certificate != nil {
		c.CommonTlsContext.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{secretConfig(*t.Certificate, socket)}
	}
	return transportSocket(c)
}

func transportSocket(m proto.Message) (*corev3.TransportSocket, error) {
	typed, err := pack(m)
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed},
	}, err
}

// plainKey marks endpoints that are reached in clear text although their cluster encrypts.
const plainKey = "plain"

// clearText is the transport socket without encryption.
func clearText() (*corev3.TransportSocket, error) {
	typed, err := pack(&rawbufferv3.RawBuffer{})
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.raw_buffer", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed},
	}, err
}

func plain() *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{plainKey: structpb.NewBoolValue(true)}}
}

// plainMatches makes a cluster speak clear text to marked endpoints.
func plainMatches() ([]*clusterv3.Cluster_TransportSocketMatch, error) {
	s, err := clearText()
	return []*clusterv3.Cluster_TransportSocketMatch{{Name: plainKey, Match: plain(), TransportSocket: s}}, err
}

// plainMetadata marks an endpoint.
func plainMetadata() *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.transport_socket_match": plain()}}
}

func validation(t *mesh.Trust, socket bool) *tlsv3.CommonTlsContext_CombinedValidationContext {
	c := &tlsv3.CertificateValidationContext{}
	for _, name := range t.Names {
		c.MatchTypedSubjectAltNames = append(c.MatchTypedSubjectAltNames, &tlsv3.SubjectAltNameMatcher{
			SanType: nameType(name),
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
		})
	}
	return &tlsv3.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
		DefaultValidationContext: c, ValidationContextSdsSecretConfig: secretConfig(t.Source, socket),
	}}
}

// nameType tells what kind of subject alternative name a string is. App Mesh's are names or URIs.
func nameType(name string) tlsv3.SubjectAltNameMatcher_SanType {
	if strings.Contains(name, "://") {
		return tlsv3.SubjectAltNameMatcher_URI
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	}
	return tlsv3.SubjectAltNameMatcher_DNS
}

// secretName is the name under which a proxy asks us for material.
func secretName(m mesh.Material) string {
	switch {
	case m.Secret != nil:
		return m.Secret.Name
	case m.Key != "":
		return "file:" + m.Chain + "," + m.Key
	default:
		return "fileca:" + m.Chain
	}
}

// secretConfig says where a proxy gets material: from the provider in its pod if the name is one of that, else from us.
func secretConfig(m mesh.Material, socket bool) *tlsv3.SdsSecretConfig {
	source, name := adsSource(), secretName(m)
	if m.SDS != "" && socket {
		name = m.SDS
		source.ConfigSourceSpecifier = &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType: corev3.ApiConfigSource_GRPC, TransportApiVersion: corev3.ApiVersion_V3,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: sdsCluster},
			}}},
		}}
	}
	source.InitialFetchTimeout = durationpb.New(secretTimeout)
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: source}
}

// secret returns the resource for material that a proxy asks us for; nil when there is none, so that what needs it fails closed.
// Of files only the names travel, and Envoy follows their rotation.
func secret(m mesh.Material) (*xds.Resource, error) {
	s := &tlsv3.Secret{Name: secretName(m)}
	chain, key := inFile(m.Chain), inFile(m.Key)
	var watched *corev3.WatchedDirectory
	if m.Chain != "" {
		watched = &corev3.WatchedDirectory{Path: path.Dir(m.Chain)}
	} else {
		if m.Secret == nil || m.Secret.Chain == nil {
			return nil, nil
		}
		chain, key = inline(m.Secret.Chain), inline(m.Secret.Key)
	}
	if m.Key != "" || m.Secret != nil && m.Secret.Key != nil {
		s.Type = &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: chain, PrivateKey: key, WatchedDirectory: watched}}
	} else {
		s.Type = &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: chain, WatchedDirectory: watched}}
	}
	return xds.NewResource(s.Name, s)
}

func inFile(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: name}}
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// collectSecrets finds the material that the group's proxies ask us for, by name.
func (b *builder) collectSecrets() {
	seen := map[string]bool{}
	add := func(m *mesh.Material) {
		if m == nil || m.SDS != "" && b.g.Profile.SDS || seen[secretName(*m)] {
			return
		}
		seen[secretName(*m)] = true
		b.secrets = append(b.secrets, *m)
	}
	for _, l := range b.g.Workload.Listeners {
		if l.TLS == nil {
			continue
		}
		add(&l.TLS.Certificate)
		if l.TLS.Clients != nil {
			add(&l.TLS.Clients.Source)
		}
	}
	for _, d := range b.destinations {
		if d.TLS == nil {
			continue
		}
		add(d.TLS.Certificate)
		if d.TLS.Server != nil {
			add(&d.TLS.Server.Source)
		}
	}
}

// secretResources adds what proxies ask us for.
func (b *builder) secretResources() error {
	for _, m := range b.secrets {
		var version mesh.Hash
		if m.Secret != nil {
			version = m.Secret.Version
		}
		input := struct {
			Material mesh.Material
			Version  mesh.Hash
		}{m, version}
		key := mesh.Combine("secret", mesh.Fingerprint(&input))
		if err := b.add(key, func() made {
			r, err := secret(m)
			if err != nil {
				return made{faults: []Fault{newFault(mesh.Object{}, "secret", err)}}
			}
			return made{resource: r}
		}); err != nil {
			return err
		}
	}
	return nil
}

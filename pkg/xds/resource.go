package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The resource types that are served.
const (
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// order is the order in which changes of several types are sent.
var order = []string{ClusterType, EndpointType, SecretType, ListenerType, RouteType}

// wildcard is true for the types of which a proxy gets everything without asking by name.
func wildcard(typeURL string) bool { return typeURL == ClusterType || typeURL == ListenerType }

// Resource is one Envoy resource. It is immutable.
type Resource struct {
	// Type is the type URL, Name what Envoy knows it by, Version the hash of its content.
	Type, Name, Version string
	// Needs are the clusters that a listener or route configuration sends traffic to.
	Needs []string
	wire  *discoveryv3.Resource
}

const typePrefix = "type.googleapis.com/"

// NewResource encodes m, which must not be modified afterwards. The error is that of the checks that Envoy would make first
// thing: one resource that fails them makes Envoy refuse a whole response.
func NewResource(name string, m proto.Message, needs ...string) (*Resource, error) {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			return nil, fmt.Errorf("resource %s: %w", name, err)
		}
	}
	if err := check(m); err != nil {
		return nil, fmt.Errorf("resource %s: %w", name, err)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode resource %s: %w", name, err)
	}
	r := &Resource{Type: typePrefix + string(m.ProtoReflect().Descriptor().FullName()), Name: name, Version: digest(b), Needs: needs}
	r.wire = &discoveryv3.Resource{Name: name, Version: r.Version, Resource: &anypb.Any{TypeUrl: r.Type, Value: b}}
	return r, nil
}

// versionLength bounds what is kept of a version that a proxy reports; ours are shorter.
const versionLength = 64

// digestLength is the length of a version in bytes: nobody finds two contents with one version.
const digestLength = 16

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:digestLength])
}

// Message decodes a copy of the resource.
func (r *Resource) Message() (proto.Message, error) { return r.wire.Resource.UnmarshalNew() }

// Set is all resources of a group. It is immutable.
type Set struct {
	// Version is the hash of the names and versions of all resources.
	Version string
	byType  map[string]map[string]*Resource
	sorted  map[string][]*Resource
}

// NewSet collects resources. Of two with the same type and name the last one counts.
func NewSet(resources ...*Resource) *Set {
	s := &Set{byType: make(map[string]map[string]*Resource, len(order)), sorted: make(map[string][]*Resource, len(order))}
	sum := sha256.New()
	var line []byte
	for _, t := range order {
		n := 0
		for _, r := range resources {
			if r.Type == t {
				n++
			}
		}
		if n == 0 {
			continue
		}
		byName, list := make(map[string]*Resource, n), make([]*Resource, 0, n)
		for _, r := range resources {
			if r.Type == t {
				byName[r.Name] = r
			}
		}
		for _, r := range byName {
			list = append(list, r)
		}
		slices.SortFunc(list, func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) })
		s.byType[t], s.sorted[t] = byName, list
		for _, r := range list {
			line = append(append(append(append(line[:0], t...), 0), r.Name...), 0)
			line = append(append(line, r.Version...), 0)
			sum.Write(line)
		}
	}
	s.Version = hex.EncodeToString(sum.Sum(nil)[:digestLength])
	return s
}

// Resources returns the resources of one type, sorted by name. The slice is shared and must not be modified.
func (s *Set) Resources(typeURL string) []*Resource { return s.sorted[typeURL] }

// Get returns one resource, nil if there is none.
func (s *Set) Get(typeURL, name string) *Resource { return s.byType[typeURL][name] }

// Snapshot is what one pass made.
type Snapshot struct {
	// Seq counts passes.
	Seq uint64
	// Sets by group.
	Sets map[string]*Set
	// GroupOf returns the group of a proxy.
	GroupOf func(proxy string) (group string, ok bool)
}

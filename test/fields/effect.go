package fields

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Effect is what comes out differently when a field has another value.
type Effect struct {
	// Envoy are the fields of Envoy's API that change, sorted: the message, which may be one inside another, and the path in it.
	Envoy []string `json:"envoy,omitempty"`
	// Members means that other proxies, or other objects, belong to the object.
	Members bool `json:"members,omitempty"`
	// Told means that a condition says something else.
	Told bool `json:"told,omitempty"`
}

// some is true when there is any effect.
func (e Effect) some() bool { return len(e.Envoy) > 0 || e.Members || e.Told }

// plainer is true when e says more clearly than f what a field is for: by fewer fields of Envoy.
func (e Effect) plainer(f Effect) bool {
	switch {
	case len(e.Envoy) > 0 && len(f.Envoy) > 0:
		return len(e.Envoy) < len(f.Envoy)
	case len(e.Envoy) > 0 || len(f.Envoy) > 0:
		return len(e.Envoy) > 0
	case e.Members != f.Members:
		return e.Members
	default:
		return e.Told && !f.Told
	}
}

var types = []string{xds.ListenerType, xds.RouteType, xds.ClusterType, xds.EndpointType, xds.SecretType}

// compare says what differs between two snapshots.
func compare(before, after *pipeline.Snapshot) (Effect, error) {
	var e Effect
	for id, was := range before.Sets {
		is := after.Sets[id]
		if is == nil || was.Version == is.Version {
			e.Members = e.Members || is == nil
			continue
		}
		for _, t := range types {
			paths, err := differences(was, is, t)
			if err != nil {
				return e, err
			}
			e.Envoy = append(e.Envoy, paths...)
		}
	}
	slices.Sort(e.Envoy)
	e.Envoy = slices.Compact(e.Envoy)
	e.Members = e.Members || len(before.Sets) != len(after.Sets) || !maps.Equal(before.Result.Model.Members, after.Result.Model.Members)
	e.Told = fmt.Sprint(before.Result.Problems) != fmt.Sprint(after.Result.Problems)
	return e, nil
}

// differences are the paths at which the resources of one type differ between two sets.
func differences(was, is *xds.Set, typeURL string) ([]string, error) {
	names := map[string]bool{}
	for _, set := range []*xds.Set{was, is} {
		for _, r := range set.Resources(typeURL) {
			names[r.Name] = true
		}
	}
	var out []string
	for name := range names {
		x, y := was.Get(typeURL, name), is.Get(typeURL, name)
		if x == nil || y == nil {
			out = append(out, typeURL[strings.LastIndex(typeURL, ".")+1:])
			continue
		}
		if x.Version == y.Version {
			continue
		}
		a, err := flatten(x)
		if err != nil {
			return nil, err
		}
		b, err := flatten(y)
		if err != nil {
			return nil, err
		}
		out = append(out, differing(a, b)...)
	}
	return out, nil
}

// differing are the paths with other values; if there are none, that below which the same values stand in another order.
func differing(a, b map[string][]string) []string {
	var out, moved []string
	for path := range union(a, b) {
		if slices.Equal(a[path], b[path]) {
			continue
		}
		moved = append(moved, path)
		if !slices.Equal(slices.Sorted(slices.Values(a[path])), slices.Sorted(slices.Values(b[path]))) {
			out = append(out, path)
		}
	}
	if len(out) > 0 || len(moved) == 0 {
		return out
	}
	common := strings.Split(moved[0], ".")
	for _, path := range moved[1:] {
		n := 0
		for i, part := range strings.Split(path, ".") {
			if i == len(common) || part != common[i] {
				break
			}
			n++
		}
		common = common[:n]
	}
	return []string{strings.Join(common, ".") + " (order)"}
}

func union(a, b map[string][]string) map[string]bool {
	out := map[string]bool{}
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

// flatten lists the leaves of a resource by path, without the positions in lists; a message inside an Any begins a new path.
func flatten(r *xds.Resource) (map[string][]string, error) {
	m, err := r.Message()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	return out, leavesOf(m.ProtoReflect(), string(m.ProtoReflect().Descriptor().Name()), out)
}

func leavesOf(m protoreflect.Message, path string, out map[string][]string) error {
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return err
		}
		return leavesOf(inner.ProtoReflect(), string(inner.ProtoReflect().Descriptor().Name()), out)
	}
	name := m.Descriptor().FullName()
	if name == "google.protobuf.Duration" || strings.HasPrefix(string(name), "google.protobuf.") && strings.HasSuffix(string(name), "Value") {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
		out[path] = append(out[path], "="+string(b))
		return err
	}
	var failed error
	empty := true
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		empty = false
		at := path + "." + string(f.Name())
		item := func(v protoreflect.Value) {
			if f.Message() == nil || f.IsMap() && f.MapValue().Message() == nil {
				out[at] = append(out[at], v.String())
			} else if err := leavesOf(v.Message(), at, out); err != nil {
				failed = err
			}
		}
		switch {
		case f.IsList():
			for i := range v.List().Len() {
				item(v.List().Get(i))
			}
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				out[at] = append(out[at], "key "+k.String())
				item(v)
				return true
			})
		default:
			item(v)
		}
		return failed == nil
	})
	if empty {
		out[path] = append(out[path], "{}")
	}
	return failed
}

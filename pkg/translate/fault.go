package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// Fault is a resource, or a part of one, that is left out because Envoy would refuse it together with its neighbours. Compile refuses such
// input with words of its own; a Fault is what it let through. Object is the one that the part comes from.
type Fault struct {
	Object   mesh.Object
	Resource string
	Text     string
}

// Compare orders faults by object, resource and text.
func (f Fault) Compare(g Fault) int {
	return cmp.Or(f.Object.Compare(g.Object), cmp.Compare(f.Resource, g.Resource), cmp.Compare(f.Text, g.Text))
}

// longestText bounds what a fault says: the text quotes what a user wrote.
const longestText = 300

func newFault(o mesh.Object, resource string, err error) Fault {
	text := err.Error()
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "") + "…"
	}
	return Fault{o, resource, text}
}

// made is a resource with the faults of its parts; without a resource all of it is at fault.
type made struct {
	resource *xds.Resource
	faults   []Fault
}

// validate runs the checks that Envoy makes of a message first thing.
func validate(m proto.Message) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		return v.ValidateAll()
	}
	return nil
}

// hostList collects the virtual hosts of one route configuration. Envoy refuses all of it when a name or a domain, compared without
// case, occurs twice; of two such hosts the first one stays.
type hostList struct {
	rc             *routev3.RouteConfiguration
	names, domains map[string]bool
	reserved       []*routev3.VirtualHost
	needs          []string
	faults         []Fault
}

func newHostList(rc *routev3.RouteConfiguration) *hostList {
	return &hostList{rc: rc, names: map[string]bool{}, domains: map[string]bool{}}
}

// reserve takes a host of the front-end itself, before any of a user. It stands behind all of them.
func (l *hostList) reserve(h *hostLeaf) {
	if l.take(mesh.Object{}, h) {
		l.reserved = append(l.reserved, h.host)
	}
}

// add adds a host that object o brought.
func (l *hostList) add(o mesh.Object, h *hostLeaf) {
	if l.take(o, h) {
		l.rc.VirtualHosts = append(l.rc.VirtualHosts, h.host)
	}
}

func (l *hostList) take(o mesh.Object, h *hostLeaf) bool {
	l.faults = append(l.faults, h.faults...)
	if err := l.claim(h.host); err != nil {
		l.faults = append(l.faults, newFault(o, "virtual host "+h.host.Name, err))
		return false
	}
	l.needs = append(l.needs, h.needs...)
	return true
}

// claim takes the name and the domains of a host, or says why it cannot.
func (l *hostList) claim(h *routev3.VirtualHost) error {
	if err := validate(&routev3.VirtualHost{Name: h.Name, Domains: h.Domains}); err != nil {
		return err
	}
	if l.names[h.Name] {
		return fmt.Errorf("virtual host %q occurs twice", h.Name)
	}
	own := map[string]bool{}
	for _, d := range h.Domains {
		if d = strings.ToLower(d); l.domains[d] || own[d] {
			return fmt.Errorf("domain %q occurs twice", d)
		}
		own[d] = true
	}
	l.names[h.Name] = true
	for d := range own {
		l.domains[d] = true
	}
	return nil
}

// made encodes the route configuration.
func (l *hostList) made() made {
	l.rc.VirtualHosts = append(l.rc.VirtualHosts, l.reserved...)
	r, err := xds.NewResource(l.rc.Name, l.rc, distinct(l.needs)...)
	if err != nil {
		l.faults = append(l.faults, newFault(mesh.Object{}, l.rc.Name, err))
	}
	return made{r, l.faults}
}

// sortFaults puts faults in order, each once.
func sortFaults(list []Fault) []Fault {
	slices.SortFunc(list, Fault.Compare)
	return slices.Compact(list)
}

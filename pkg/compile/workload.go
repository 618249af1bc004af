package compile

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/validate"
)

// compileWorkloads decides what each node's proxies do.
func (b *builder) compileWorkloads() {
	for _, n := range b.nodeOrder {
		w := &mesh.Workload{
			ID: mesh.WorkloadID{Mesh: n.mesh.name, Name: n.name}, Object: n.self,
			Egress:    mesh.Egress{AllowAll: n.mesh.allowAll, Exempt: b.in.Settings.EgressExempt},
			AccessLog: b.accessLog(n.self, n.object.Spec.Logging),
			HTTP:      n.mesh.http,
		}
		b.compileBackends(n, w)
		w.Destinations = reached(w, func(*mesh.ServicePort) bool { return true })
		b.compileInbound(n, w)
		b.compileOutbound(n, w)
		b.workloads = append(b.workloads, w)
	}
}

// compileBackends resolves the services a node may call.
func (b *builder) compileBackends(n *node, w *mesh.Workload) {
	seen := make(map[*mesh.Service]bool, len(n.object.Spec.Backends))
	w.Backends = make([]mesh.Backend, 0, len(n.object.Spec.Backends))
	usual := b.defaultPolicy(n.self, n.mesh, n.object.Spec.BackendDefaults)
	several := false
	add := func(v *virtualService, p *clientPolicy) {
		if !seen[v.service] {
			seen[v.service] = true
			several = several || p != usual
			w.Backends = append(w.Backends, mesh.Backend{Service: b.secured(v.service, p)})
		}
	}
	for i, be := range n.object.Spec.Backends {
		at := backendPath(i)
		v := b.findService(lookup{
			from: n.self, namespace: n.self.Namespace, mesh: n.mesh, path: at,
			ref: be.VirtualService.VirtualServiceRef, arn: be.VirtualService.VirtualServiceARN,
			effect: "the node goes on without this backend",
		})
		if v == nil {
			continue
		}
		p := usual
		if c := be.VirtualService.ClientPolicy; c != nil && c.TLS != nil {
			p = b.clientPolicy(n.self, n.mesh, at+".clientPolicy.tls", c.TLS)
		}
		add(v, p)
	}
	b.groupBackends(n, w, func(v *virtualService) { add(v, usual) })
	b.boundBackends(n, w)
	if several {
		distinctClusters(w)
	}
	slices.SortFunc(w.Backends, compareBackends)
}

// backendPath says where a backend stands. Paths are needed for every backend and rarely read, so the usual ones are made once.
func backendPath(i int) string {
	if i < len(backendPaths) {
		return backendPaths[i]
	}
	return "spec.backends[" + strconv.Itoa(i) + "].virtualService"
}

var backendPaths = func() (out [100]string) {
	for i := range out {
		out[i] = "spec.backends[" + strconv.Itoa(i) + "].virtualService"
	}
	return out
}()

func compareBackends(x, y mesh.Backend) int {
	return cmp.Or(x.Service.Created.Compare(y.Service.Created), cmp.Compare(x.Service.Name, y.Service.Name))
}

// reached returns each distinct destination of the workload's services, in the order of services, ports and routes.
func reached(w *mesh.Workload, counts func(*mesh.ServicePort) bool) []*mesh.Destination {
	const own = 4 // what the listeners need beside
	seen := make(map[string]bool, len(w.Backends))
	out := make([]*mesh.Destination, 0, len(w.Backends)+own)
	for _, be := range w.Backends {
		for _, p := range be.Service.Ports {
			if !counts(p) {
				continue
			}
			for _, r := range p.Routes {
				for _, t := range r.Targets {
					if t.Destination != nil && !seen[t.Cluster] {
						seen[t.Cluster] = true
						out = append(out, t.Destination)
					}
				}
			}
		}
	}
	return out
}

// plainFirst puts services whose name carries a port behind all others: the name of one may be the host and port of another, to which it
// belongs whatever their ages.
func plainFirst(list []mesh.Backend) []mesh.Backend {
	ported := func(b mesh.Backend) bool { return strings.Contains(b.Service.Name, ":") }
	if !slices.ContainsFunc(list, ported) {
		return list
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(x, y mesh.Backend) int {
		rank := func(b mesh.Backend) int { return map[bool]int{false: 0, true: 1}[ported(b)] }
		return cmp.Compare(rank(x), rank(y))
	})
	return out
}

// freeHost claims the host names of a service on a port. Envoy refuses a route configuration in which a name, compared without
// regard to case, appears twice.
func (b *builder) freeHost(n *node, hosts map[uint32]map[string]*mesh.Service, s *mesh.Service, port uint32) bool {
	if !b.alike[n.mesh] {
		return true
	}
	if hosts[port] == nil {
		hosts[port] = map[string]*mesh.Service{}
	}
	taken := hosts[port]
	name := strings.ToLower(s.Name)
	names := [2]string{name, name + ":" + strconv.FormatUint(uint64(port), 10)}
	for _, h := range names {
		if other := taken[h]; other != nil {
			b.problem(mesh.Problem{Object: n.self, Severity: mesh.Rejected, Partial: true, Reason: meshv1beta2.ReasonHostnameConflict, Path: "spec.backends",
				Message: fmt.Sprintf("%s and %s both stand for host %q on port %d; %s is used", other.Object, s.Object, h, port, other.Object)})
			return false
		}
	}
	for _, h := range names {
		taken[h] = s
	}
	return true
}

// broader is the protocol that names a port on which several of the HTTP family meet.
func broader(x, y mesh.Protocol) mesh.Protocol {
	for _, p := range []mesh.Protocol{mesh.HTTP, mesh.HTTP2, mesh.GRPC} {
		if x == p || y == p {
			return p
		}
	}
	return y
}

// accessLog maps the only kind of sink there is. A path that the proxy's container cannot have is replaced by /dev/stdout,
// because Envoy refuses the whole listener for it.
func (b *builder) accessLog(o mesh.Object, l *meshv1beta2.Logging) *mesh.AccessLog {
	if l == nil || l.AccessLog == nil || l.AccessLog.File == nil {
		return nil
	}
	f := l.AccessLog.File
	out := &mesh.AccessLog{Path: f.Path}
	const at = "spec.logging.accessLog.file"
	if dir := path.Dir(path.Clean(f.Path)); dir != "/tmp" && !slices.Contains([]string{"/dev/stdout", "/dev/stderr", "/dev/null"}, f.Path) {
		out.Path = "/dev/stdout"
		b.problem(mesh.Problem{Object: o, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: at + ".path",
			Message: fmt.Sprintf("the proxy cannot write %q, the log goes to /dev/stdout; use /dev/stdout, /dev/stderr or a file in /tmp", f.Path)})
	}
	if f.Format == nil {
		return out
	}
	var formats []string
	if f.Format.Text != nil {
		out.Text = *f.Format.Text
		formats = append(formats, out.Text)
	}
	for _, kv := range f.Format.JSON {
		out.JSON = append(out.JSON, mesh.LogField{Key: kv.Key, Value: kv.Value})
		formats = append(formats, kv.Value)
	}
	for _, format := range formats {
		if validate.LogFormat(format) != nil { // reported by validate
			out.Text, out.JSON = "", nil
			break
		}
	}
	return out
}

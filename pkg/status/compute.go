package status

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// ProxyState is what the stream tables of all replicas know of one proxy.
type ProxyState struct {
	// Acked is the number of the newest snapshot of which the proxy has acknowledged everything; 0 if of none.
	Acked uint64
	// Unknown is true when the replica that serves the proxy cannot be reached: it may run anything.
	Unknown bool
	// Rejected is Envoy's text for a resource that it refuses now, with the resource's name in front; empty if it refuses none.
	Rejected string
}

// Input is everything that conditions are made from.
type Input struct {
	Objects *input.Objects
	Result  *input.Result
	// Introduced returns the number of the first snapshot that was made from the present generation of an object.
	Introduced func(mesh.Object) uint64
	// Proxies by id (pod UID). A proxy that is not in it is not connected.
	Proxies map[string]ProxyState
	// ARN makes synthetic resource names.
	ARN ARN
}

// Desired is the status that one object should have. Conditions carry no transition times yet; Merge adds them.
type Desired struct {
	Object     meshv1beta2.Object
	ID         mesh.Object
	Conditions []meshv1beta2.Condition
	ARN        string
	// Proxies says how many of how many proxies run the object's generation, for example "2/3"; empty for a Mesh, and for what is not served.
	Proxies string
	// RouteARNs is set for routers only: the full map of their routes.
	RouteARNs map[string]string
}

// Computer computes statuses. It keeps what it said of each object and says the same, the same pointer, as long as nothing it was made
// from has changed; a fresh one says the same content. Calls must not overlap.
type Computer struct {
	// Panicked is told of a fault of ours at one object, which gets no status then; without it the panic goes on.
	Panicked func(o mesh.Object, reason any, stack []byte)

	last map[mesh.Object]*remembered
}

// remembered is what a status was made from, and the status.
type remembered struct {
	object   meshv1beta2.Object
	problems []mesh.Problem
	place    input.Place
	routes   []string
	outside  []string
	refused  []string
	tally    tally
	// kept is the generation that is served in place of the current one; 0 if none.
	kept    int64
	desired *Desired
}

// Compute returns the desired status of every object, sorted by kind, namespace and name.
func (c *Computer) Compute(in Input) []*Desired {
	p := newPass(in)
	next := make(map[mesh.Object]*remembered, len(c.last))
	out := make([]*Desired, 0, len(c.last))
	for o := range input.All[meshv1beta2.Object](in.Objects) {
		id := input.ID(o)
		now := remembered{object: o, problems: p.problems[id], place: in.Result.Names[id], routes: p.routes[id], outside: p.outside[id], refused: p.refused[id], tally: p.count(id), kept: in.Result.Kept[id]}
		if was := c.last[id]; was != nil && was.equal(&now) {
			next[id] = was
		} else {
			now.desired = c.status(&now, id, in.ARN)
			next[id] = &now
		}
		if d := next[id].desired; d != nil {
			out = append(out, d)
		}
	}
	c.last = next
	slices.SortFunc(out, func(x, y *Desired) int { return x.ID.Compare(y.ID) })
	return out
}

// status is nil when making it panicked. It is not tried again before something changes.
func (c *Computer) status(r *remembered, id mesh.Object, arn ARN) (d *Desired) {
	if c.Panicked != nil {
		defer func() {
			if reason := recover(); reason != nil {
				c.Panicked(id, reason, debug.Stack())
				d = nil
			}
		}()
	}
	return r.status(id, arn)
}

func (r *remembered) equal(s *remembered) bool {
	return r.object == s.object && r.kept == s.kept && r.tally == s.tally && r.place == s.place && slices.Equal(r.problems, s.problems) && slices.Equal(r.routes, s.routes) && slices.Equal(r.outside, s.outside) &&
		slices.Equal(r.refused, s.refused)
}

// status says what is true about the object.
func (r *remembered) status(id mesh.Object, arn ARN) *Desired {
	accepted := accepted(r.problems)
	resolved := resolved(r.problems)
	programmed := programmed(id, r.problems, r.tally)
	if r.kept != 0 {
		programmed = condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonNotAccepted,
			fmt.Sprintf("generation %d, the last accepted one, is served until this one can be", r.kept))
	}
	d := &Desired{Object: r.object, ID: id, Proxies: r.proxies(id), Conditions: []meshv1beta2.Condition{
		accepted, resolved, programmed, ready(accepted, resolved, programmed), active(r.object, r.problems, r.kept != 0),
	}}
	if id.Kind == "VirtualNode" || id.Kind == "VirtualGateway" {
		d.Conditions = append(d.Conditions, injected(id.Namespace, r.outside, r.refused))
	}
	for i := range d.Conditions {
		d.Conditions[i].ObservedGeneration = r.object.GetGeneration()
	}
	if r.place != (input.Place{}) {
		d.ARN = arn.of(id.Kind, r.place)
		if v, ok := r.object.(*meshv1beta2.VirtualRouter); ok {
			d.RouteARNs = arn.routes(v, r.place, r.routes)
		}
	}
	return d
}

// proxies counts the proxies that run the object's own generation.
func (r *remembered) proxies(id mesh.Object) string {
	switch {
	case id.Kind == "Mesh" || whole(r.problems):
		return ""
	case r.kept != 0:
		return fmt.Sprintf("0/%d", r.tally.all)
	default:
		return fmt.Sprintf("%d/%d", r.tally.there, r.tally.all)
	}
}

// condition is shorthand for one without times.
func condition(kind string, status bool, reason, message string) meshv1beta2.Condition {
	s := metav1.ConditionFalse
	if status {
		s = metav1.ConditionTrue
	}
	return meshv1beta2.Condition{Type: kind, Status: s, Reason: reason, Message: message}
}

func accepted(problems []mesh.Problem) meshv1beta2.Condition {
	if p := pick(problems, mesh.Rejected); len(p) > 0 {
		return condition(meshv1beta2.ConditionAccepted, false, p[0].Reason, sentences(p))
	}
	if p := pick(problems, mesh.Adjusted); len(p) > 0 {
		return condition(meshv1beta2.ConditionAccepted, true, adjustedReason(p), sentences(p))
	}
	return condition(meshv1beta2.ConditionAccepted, true, meshv1beta2.ReasonAccepted, "")
}

func resolved(problems []mesh.Problem) meshv1beta2.Condition {
	if p := pick(problems, mesh.Unresolved); len(p) > 0 {
		return condition(meshv1beta2.ConditionResolvedRefs, false, p[0].Reason, sentences(p))
	}
	return condition(meshv1beta2.ConditionResolvedRefs, true, meshv1beta2.ReasonResolvedRefs, "")
}

// programmed says how many proxies run the object's generation. A Mesh counts none: it would only repeat every other object.
func programmed(id mesh.Object, problems []mesh.Problem, t tally) meshv1beta2.Condition {
	if whole(problems) {
		return condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonNotAccepted, "the object is not served, see Accepted")
	}
	if id.Kind == "Mesh" {
		return condition(meshv1beta2.ConditionProgrammed, true, meshv1beta2.ReasonProgrammed, "the members of the mesh have conditions of their own")
	}
	count := fmt.Sprintf("%d of %d proxies run this generation", t.there, t.all)
	switch {
	case t.all == 0:
		return condition(meshv1beta2.ConditionProgrammed, true, meshv1beta2.ReasonNoProxies, "0 of 0 proxies: nothing runs that would use it")
	case t.refusal() != "":
		return condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonProxyRejected, count+"; "+t.refusal())
	case t.there == t.all:
		return condition(meshv1beta2.ConditionProgrammed, true, meshv1beta2.ReasonProgrammed, count)
	case t.unknown > 0:
		cond := condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonUnknown,
			fmt.Sprintf("%s, %d are served by a replica that cannot be reached", count, t.unknown))
		cond.Status = metav1.ConditionUnknown
		return cond
	default:
		return condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonPending, count)
	}
}

// injected says which pods run without a proxy, or else with probes that their listeners refuse.
func injected(namespace string, outside, refused []string) meshv1beta2.Condition {
	switch {
	case len(outside) > 0:
		return condition(meshv1beta2.ConditionInjected, false, meshv1beta2.ReasonPodsOutside,
			fmt.Sprintf("pods that run without a proxy: %s; restart them: aftermesh restart -n %s --outside", first(outside), namespace))
	case len(refused) > 0:
		return condition(meshv1beta2.ConditionInjected, false, meshv1beta2.ReasonProbesRefused,
			fmt.Sprintf("pods whose probes or scrapes ask, in clear text, a port whose listener is STRICT now and refuses them: %s; restart them: aftermesh restart -n %s --outdated",
				first(refused), namespace))
	default:
		return condition(meshv1beta2.ConditionInjected, true, meshv1beta2.ReasonInjected, "")
	}
}

// first lists the first pods, and how many there are.
func first(pods []string) string {
	const shown = 5
	list := strings.Join(pods[:min(shown, len(pods))], ", ")
	if len(pods) > shown {
		list += ", …"
	}
	return fmt.Sprintf("%s (%d in all)", list, len(pods))
}

// ready sums the others up; the first that is not true gives reason and message.
func ready(parts ...meshv1beta2.Condition) meshv1beta2.Condition {
	for _, p := range parts {
		if p.Status != metav1.ConditionTrue {
			c := condition(meshv1beta2.ConditionReady, false, p.Reason, p.Type+": "+p.Message)
			c.Status = p.Status
			return c
		}
	}
	return condition(meshv1beta2.ConditionReady, true, meshv1beta2.ReasonReady, "")
}

// active is App Mesh's own condition. Once true it stays true through updates whose references do not resolve, and while the
// last accepted specification is served.
func active(o meshv1beta2.Object, problems []mesh.Problem, kept bool) meshv1beta2.Condition {
	kind := meshv1beta2.ActiveCondition(o.Common().Kind)
	if kept {
		return condition(kind, true, "", "")
	}
	was := meshv1beta2.FindCondition(*o.Common().Conditions, kind)
	wasTrue := was != nil && was.Status == metav1.ConditionTrue
	if p := pick(problems, mesh.Rejected); whole(problems) {
		return condition(kind, false, p[0].Reason, sentences(p))
	}
	if p := slices.DeleteFunc(pick(problems, mesh.Unresolved), present); len(p) > 0 && !wasTrue {
		return condition(kind, false, p[0].Reason, sentences(p))
	}
	return condition(kind, true, "", "")
}

// present is true for references that lead somewhere, only not to something that can be used: App Mesh did not look so far.
func present(p mesh.Problem) bool {
	return slices.Contains([]string{
		meshv1beta2.ReasonListenerMismatch, meshv1beta2.ReasonTargetPortAmbiguous, meshv1beta2.ReasonNoEndpoints,
		meshv1beta2.ReasonServicePortNotFound, meshv1beta2.ReasonTLSMaterialUnavailable,
	}, p.Reason)
}

// whole is true when the object is not served at all.
func whole(problems []mesh.Problem) bool {
	return slices.ContainsFunc(problems, func(p mesh.Problem) bool { return p.Severity == mesh.Rejected && !p.Partial })
}

func pick(problems []mesh.Problem, s mesh.Severity) []mesh.Problem {
	var out []mesh.Problem
	for _, p := range problems {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// maxMessage bounds a message, far below what the API server takes for a condition of any kind.
const maxMessage = 4000

// sentences joins problems into one message: path and message of each.
func sentences(problems []mesh.Problem) string {
	parts := make([]string, len(problems))
	for i, p := range problems {
		parts[i] = p.Message
		if p.Path != "" {
			parts[i] = p.Path + ": " + p.Message
		}
	}
	s := strings.Join(parts, "; ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + " …"
	}
	return s
}

// adjustedReason is Adjusted, or what is worth a name of its own.
func adjustedReason(problems []mesh.Problem) string {
	for _, p := range problems {
		if p.Reason == meshv1beta2.ReasonNameNotResolvable || p.Reason == meshv1beta2.ReasonNotIntercepted {
			return p.Reason
		}
	}
	return meshv1beta2.ReasonAdjusted
}

package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
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
	Objects *compile.Objects
	Result  *compile.Result
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
	// RouteARNs is set for routers only: the full map of their routes.
	RouteARNs map[string]string
}

// Compute returns the desired status of every object, sorted by kind, namespace and name.
func Compute(in Input) []Desired {
	c := &computer{in: in, problems: map[mesh.Object][]mesh.Problem{}, counted: map[string][]mesh.Proxy{}}
	for _, p := range in.Result.Problems {
		c.problems[p.Object] = append(c.problems[p.Object], p)
	}
	for _, p := range in.Result.Model.Proxies {
		if p.Counted {
			c.counted[p.Group] = append(c.counted[p.Group], p)
		}
	}
	var out []Desired
	for o := range in.Objects.All() {
		out = append(out, c.object(o))
	}
	slices.SortFunc(out, func(x, y Desired) int { return x.ID.Compare(y.ID) })
	return out
}

type computer struct {
	in       Input
	problems map[mesh.Object][]mesh.Problem
	counted  map[string][]mesh.Proxy
}

func (c *computer) object(o meshv1beta2.Object) Desired {
	id := mesh.Object{Kind: o.Common().Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	problems := c.problems[id]
	accepted := accepted(problems)
	resolved := resolved(problems)
	programmed := c.programmed(id, problems)
	kept, isKept := c.in.Result.Kept[id]
	if isKept {
		programmed = condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonNotAccepted,
			fmt.Sprintf("generation %d, the last accepted one, is served until this one can be", kept))
	}
	d := Desired{Object: o, ID: id, Conditions: []meshv1beta2.Condition{
		accepted, resolved, programmed, ready(accepted, resolved, programmed), active(o, problems, isKept),
	}}
	for i := range d.Conditions {
		d.Conditions[i].ObservedGeneration = o.GetGeneration()
	}
	if place, ok := c.in.Result.Names[id]; ok {
		d.ARN = c.in.ARN.of(id.Kind, place)
		if r, ok := o.(*meshv1beta2.VirtualRouter); ok {
			d.RouteARNs = c.routeARNs(r, place)
		}
	}
	return d
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
		return condition(meshv1beta2.ConditionAccepted, true, meshv1beta2.ReasonAdjusted, sentences(p))
	}
	return condition(meshv1beta2.ConditionAccepted, true, meshv1beta2.ReasonAccepted, "")
}

func resolved(problems []mesh.Problem) meshv1beta2.Condition {
	if p := pick(problems, mesh.Unresolved); len(p) > 0 {
		return condition(meshv1beta2.ConditionResolvedRefs, false, p[0].Reason, sentences(p))
	}
	return condition(meshv1beta2.ConditionResolvedRefs, true, meshv1beta2.ReasonResolvedRefs, "")
}

// programmed counts the proxies that depend on the object. A Mesh counts none: it would only repeat every other object.
func (c *computer) programmed(id mesh.Object, problems []mesh.Problem) meshv1beta2.Condition {
	if whole(problems) {
		return condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonNotAccepted, "the object is not served, see Accepted")
	}
	if id.Kind == "Mesh" {
		return condition(meshv1beta2.ConditionProgrammed, true, meshv1beta2.ReasonProgrammed, "the members of the mesh have conditions of their own")
	}
	n, m, unknown, rejected := 0, 0, 0, ""
	since := c.in.Introduced(id)
	for _, g := range c.in.Result.Model.Dependents(id) {
		for _, p := range c.counted[g.ID] {
			n++
			switch s := c.in.Proxies[p.ID]; {
			case s.Unknown:
				unknown++
			case s.Acked >= since && s.Acked > 0:
				m++
			case s.Rejected != "" && rejected == "":
				rejected = fmt.Sprintf("pod %s/%s refuses %s", p.Namespace, p.Name, s.Rejected)
			}
		}
	}
	count := fmt.Sprintf("%d of %d proxies run this generation", m, n)
	switch {
	case n == 0:
		return condition(meshv1beta2.ConditionProgrammed, true, meshv1beta2.ReasonNoProxies, "0 of 0 proxies: nothing runs that would use it")
	case rejected != "":
		return condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonProxyRejected, count+"; "+rejected)
	case m == n:
		return condition(meshv1beta2.ConditionProgrammed, true, meshv1beta2.ReasonProgrammed, count)
	case unknown > 0:
		cond := condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonUnknown,
			fmt.Sprintf("%s, %d are served by a replica that cannot be reached", count, unknown))
		cond.Status = metav1.ConditionUnknown
		return cond
	default:
		return condition(meshv1beta2.ConditionProgrammed, false, meshv1beta2.ReasonPending, count)
	}
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
	if p := pick(problems, mesh.Unresolved); len(p) > 0 && !wasTrue {
		return condition(kind, false, p[0].Reason, sentences(p))
	}
	return condition(kind, true, "", "")
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

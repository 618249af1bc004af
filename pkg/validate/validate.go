package validate

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Finding is one broken rule in one place of an object.
type Finding struct {
	// Rule is the row of the api package's table: id, class, reason, and whether only the part at Path suffers.
	Rule meshv1beta2.Rule
	// Object is "Kind namespace/name".
	Object string
	// Path is the JSON path of the field, for example "spec.listeners[0].portMapping.port".
	Path string
	// Message says what is wrong with which value, and what would be right.
	Message string

	// judged is the value that the rule looked at; equal values are judged equally.
	judged any
}

// String returns the message with object and field, for places that show neither otherwise.
func (f Finding) String() string {
	return fmt.Sprintf("%s (%s, %s)", f.Message, f.Object, f.Path)
}

// Rules are the settings of the operator that rules depend on. Its zero value is the defaults.
type Rules struct {
	// AdminPort of Envoy; 0 is the default.
	AdminPort int64
}

// Object judges obj by the default settings.
func Object(obj, old meshv1beta2.Object) []Finding { return Rules{}.Object(obj, old) }

// Object judges obj. old is what obj replaces, or nil for a new object and for the view of an object as it stands. Findings
// come in the order of the fields, changes of immutable fields first. That an object is being deleted makes no difference: it may
// be served until then.
func (r Rules) Object(obj, old meshv1beta2.Object) []Finding {
	if old == nil {
		return r.judge(obj)
	}
	findings := immutable(obj, old)
	before := r.judge(old)
	for _, f := range r.judge(obj) {
		same := slices.IndexFunc(before, f.equal)
		if same < 0 {
			findings = append(findings, f)
			continue
		}
		before = slices.Delete(before, same, same+1)
	}
	return findings
}

// equal says whether the same rule was broken by an equal value, wherever that stood.
func (f Finding) equal(other Finding) bool {
	return f.Rule.ID == other.Rule.ID && reflect.DeepEqual(f.judged, other.judged)
}

// judge applies every rule that looks at a single state of an object.
func (r Rules) judge(obj meshv1beta2.Object) []Finding {
	j := &judge{rules: r, object: obj}
	spec := field.NewPath("spec")
	j.nameLength(spec)
	switch o := obj.(type) {
	case *meshv1beta2.Mesh:
		j.mesh(spec, &o.Spec)
	case *meshv1beta2.VirtualNode:
		j.virtualNode(spec, o)
	case *meshv1beta2.VirtualService:
		j.virtualService(spec, &o.Spec)
	case *meshv1beta2.VirtualRouter:
		j.virtualRouter(spec, &o.Spec)
	case *meshv1beta2.Route:
		j.route(spec, o.Name, &o.Spec.RouteBody)
	case *meshv1beta2.VirtualGateway:
		j.virtualGateway(spec, &o.Spec)
	case *meshv1beta2.GatewayRoute:
		j.gatewayRoute(spec, &o.Spec)
	}
	return j.findings
}

// judge collects the findings of one object.
type judge struct {
	rules    Rules
	object   meshv1beta2.Object
	findings []Finding
}

// add records that the rule is broken at path by the value judged.
func (j *judge) add(rule string, path *field.Path, judged any, format string, args ...any) {
	j.findings = append(j.findings, Finding{
		Rule:    meshv1beta2.RuleByID(rule),
		Object:  Name(j.object),
		Path:    path.String(),
		Message: fmt.Sprintf(format, args...),
		judged:  judged,
	})
}

// Name returns "Kind namespace/name" as messages show it, "Kind name" for a Mesh. An object without a name yet shows its
// generateName.
func Name(obj meshv1beta2.Object) string {
	kind, namespace := obj.Common().Kind, obj.GetNamespace()
	if namespace == "" || kind == "Mesh" {
		return kind + " " + shortName(obj)
	}
	return kind + " " + namespace + "/" + shortName(obj)
}

func shortName(obj meshv1beta2.Object) string {
	if obj.GetName() == "" && obj.GetGenerateName() != "" {
		return obj.GetGenerateName() + "*"
	}
	return obj.GetName()
}

// maxNameLength is the longest name of a resource. Source: App Mesh API reference.
const maxNameLength = 255

func (j *judge) nameLength(spec *field.Path) {
	if j.object.Common().AWSName == nil {
		return
	}
	if name := meshv1beta2.EffectiveName(j.object); len(name) > maxNameLength {
		j.add("X24", spec.Child("awsName"), name, "the name %.20s… has %d characters, at most %d are possible; create the object again with a shorter awsName",
			name, len(name), maxNameLength)
	}
}

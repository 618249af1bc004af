package mesh

import "cmp"

// Object names the user's object that caused a node of the model, with the API group of its kind. It is comparable and serves as a map key.
// Mesh objects have no namespace.
type Object struct {
	Group, Kind, Namespace, Name string
}

// String returns "Kind namespace/name", or "Kind name" for objects without a namespace, as messages show it.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Compare orders objects by kind, group, namespace and name.
func (o Object) Compare(p Object) int {
	return cmp.Or(cmp.Compare(o.Kind, p.Kind), cmp.Compare(o.Group, p.Group), cmp.Compare(o.Namespace, p.Namespace), cmp.Compare(o.Name, p.Name))
}

// Severity says what a Problem does to its object.
type Severity int

const (
	// Adjusted means that the object is served, but some field has another effect, or none.
	Adjusted Severity = iota
	// Unresolved means that the object is served as far as its references resolve.
	Unresolved
	// Rejected means that the object, or the named part of it, is not served.
	Rejected
)

// String returns the lower-case word that `check` prints.
func (s Severity) String() string {
	switch s {
	case Adjusted:
		return "warning"
	case Unresolved:
		return "unresolved"
	default:
		return "error"
	}
}

// Problem is a fault in what a user wrote. Reason is one of the constants of the api package, Path the JSON path of the field
// ("spec.routes[0].httpRoute") or empty for the whole object, and Message one sentence that says what is wrong and what to do.
type Problem struct {
	Object   Object
	Severity Severity
	// Partial says that only what Path names is not served; the rest of the object is.
	Partial bool
	Reason  string
	Path    string
	Message string
}

// Compare orders problems by object, then severity with the worst first, then path and message.
func (p Problem) Compare(q Problem) int {
	return cmp.Or(p.Object.Compare(q.Object), cmp.Compare(q.Severity, p.Severity), cmp.Compare(p.Path, q.Path),
		cmp.Compare(p.Reason, q.Reason), cmp.Compare(p.Message, q.Message))
}

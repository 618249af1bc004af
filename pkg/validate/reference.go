package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// reference judges a pair of fields, <kind>Ref and <kind>ARN, of which exactly one is set. unionRule and arnRule are the ids
// of the two rules that can be broken. kind is the ARN constant.
func (j *judge) reference(path *field.Path, kind, unionRule, arnRule string, ref *meshv1beta2.Reference, arn *string) {
	byRef, byARN := kind+"Ref", kind+"ARN"
	switch {
	case ref == nil && arn == nil:
		j.add(unionRule, path, "none", "one of %s and %s must be specified; name the %s by %s", byRef, byARN, kind, byRef)
	case ref != nil && arn != nil:
		j.add(unionRule, path, []string{ref.Name, *arn}, "only one of %s (%q) and %s (%q) may be specified; remove one of them", byRef, ref.Name, byARN, *arn)
	case arn != nil:
		if _, _, err := meshv1beta2.ParseMeshResource(*arn, kind); err != nil {
			j.add(arnRule, path.Child(byARN), *arn, "%q: %v; correct it, or use %s", *arn, err, byRef)
		}
	}
}

// member is one field of a union.
type member struct {
	name string
	set  bool
}

// given returns the names of the fields that are set.
func given(members []member) []string {
	var names []string
	for _, m := range members {
		if m.set {
			names = append(names, m.name)
		}
	}
	return names
}

// exactlyOne judges a union; what is the union in words.
func (j *judge) exactlyOne(rule string, path *field.Path, what string, members ...member) {
	names := given(members)
	switch len(names) {
	case 0:
		j.add(rule, path, names, "%s must have one of %s; add it", what, oneOf(members))
	case 1:
	default:
		j.add(rule, path, names, "%s has %s, only one is allowed; keep one of them", what, and(names))
	}
}

// oneOf lists the fields of a union as "a, b and c".
func oneOf(members []member) string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.name
	}
	return and(names)
}

// and joins names as "a, b and c".
func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

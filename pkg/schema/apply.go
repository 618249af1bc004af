package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"github.com/aftermesh/aftermesh/pkg/spell"
)

// Unknown is a field that the kind does not have.
type Unknown struct {
	// Path as "spec.listeners[0].portmapping".
	Path string
	// Nearest is the name of a field in the same place that was probably meant; empty if none is near.
	Nearest string
}

// Decode does what an API server does when it decodes an object: it removes unknown fields and fills in defaults. The object is
// modified. The status is removed, which belongs to the control plane. Unknown fields come sorted by path.
func (k *Kind) Decode(object map[string]any) ([]Unknown, field.ErrorList) {
	_, _, meta, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, field.ErrorList{malformed(err)}
	}
	// The kinds keep unknown fields beside spec, so that pruning reports none of those.
	for name := range object {
		_, known := k.structural.Properties[name]
		if !known && name != "apiVersion" && name != "kind" && name != "metadata" {
			meta = append(meta, name)
		}
	}
	paths := append(meta, pruning.PruneWithOptions(object, k.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	unknown := make([]Unknown, len(paths))
	for i, p := range paths {
		unknown[i] = Unknown{Path: p, Nearest: k.nearest(p)}
	}
	delete(object, "status")
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.structural)
	defaulting.Default(object, k.structural)
	return unknown, nil
}

// malformed words the error about metadata that do not have the right types.
func malformed(err error) *field.Error {
	path, detail := field.NewPath("metadata"), err.Error()
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		path = path.Child(strings.TrimPrefix(wrong.Field, "ObjectMeta."))
		detail = fmt.Sprintf("has a %s where a %s belongs", wrong.Value, wrong.Type)
		if wrong.Type.Kind() == reflect.String {
			detail += "; put it in quotes if it is meant as text"
		}
	}
	return field.Invalid(path, field.OmitValueType{}, detail)
}

// nearest finds the field that was probably meant in place of the last one of a path.
func (k *Kind) nearest(path string) string {
	parts := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	s := k.structural
	for _, part := range parts[:len(parts)-1] {
		if s == nil {
			return ""
		}
		if _, err := strconv.Atoi(part); err == nil && s.Items != nil {
			s = s.Items
			continue
		}
		next, ok := s.Properties[part]
		if !ok {
			return ""
		}
		s = &next
	}
	if s == nil {
		return ""
	}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	return spell.Nearest(parts[len(parts)-1], names)
}

// Validate does what an API server does before it stores a new object. Faults come sorted by path, each once.
func (k *Kind) Validate(object map[string]any) field.ErrorList {
	faults := metavalidation.ValidateObjectMetaAccessor(&unstructured.Unstructured{Object: object}, k.Namespaced,
		metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	faults = append(faults, validation.ValidateCustomResource(nil, object, k.validator)...)
	ctx := context.TODO() // it carries options of the server and its deadline; there are none here
	faults = append(faults, objectmeta.Validate(ctx, nil, object, k.structural, false)...)
	faults = append(faults, listtype.ValidateListSetsAndMaps(nil, k.structural, object)...)
	if k.rules != nil && len(faults) == 0 {
		broken, _ := k.rules.Validate(ctx, nil, k.structural, object, nil, celconfig.RuntimeCELCostBudget)
		faults = append(faults, broken...)
	}
	slices.SortStableFunc(faults, func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
	return slices.CompactFunc(faults, func(a, b *field.Error) bool { return a.Error() == b.Error() })
}

// Message words a fault of Validate: what is wrong with which value, and what is allowed. The path is not in it.
func Message(fault *field.Error) string {
	short := *fault
	short.Detail = strings.TrimPrefix(short.Detail, short.Field+" in body ")
	if _, none := short.BadValue.(field.OmitValueType); none && short.Type == field.ErrorTypeInvalid {
		return short.Detail
	}
	return short.ErrorBody()
}

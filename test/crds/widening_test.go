package crds

import (
	"fmt"
	"slices"
	"sort"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Narrower lists, by JSON path, everything in which ours refuses or loses what reference accepts. Empty means that each
// object valid under reference is valid under ours and keeps all its fields.
func Narrower(reference, ours *apiextensionsv1.JSONSchemaProps) []string {
	return narrower("", reference, ours)
}

func narrower(path string, reference, ours *apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	report := func(format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: ", path)+fmt.Sprintf(format, args...))
	}
	if reference.Type != ours.Type {
		report("type %q, reference has %q", ours.Type, reference.Type)
	}
	if ours.Format != "" && reference.Format != ours.Format {
		report("format %q, reference has %q", ours.Format, reference.Format)
	}
	if preserves(reference) && !preserves(ours) {
		report("unknown fields are dropped, the reference keeps them")
	}
	if reference.XIntOrString && !ours.XIntOrString {
		report("not int-or-string")
	}
	if reference.Nullable && !ours.Nullable {
		report("not nullable")
	}
	if ours.Default != nil {
		report("has a default, which would show as drift")
	}
	found = append(found, narrowerValues(path, reference, ours)...)
	found = append(found, narrowerBounds(path, reference, ours)...)
	found = append(found, narrowerExtensions(path, reference, ours)...)
	return append(found, narrowerChildren(path, reference, ours)...)
}

func preserves(schema *apiextensionsv1.JSONSchemaProps) bool {
	return schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields
}

// narrowerValues compares enumerations and required fields.
func narrowerValues(path string, reference, ours *apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	if len(ours.Enum) > 0 && len(reference.Enum) == 0 {
		found = append(found, path+": has an enumeration, the reference has none")
	}
	if len(ours.Enum) > 0 {
		for _, value := range reference.Enum {
			if !slices.ContainsFunc(ours.Enum, func(v apiextensionsv1.JSON) bool { return string(v.Raw) == string(value.Raw) }) {
				found = append(found, fmt.Sprintf("%s: value %s is missing", path, value.Raw))
			}
		}
	}
	for _, name := range ours.Required {
		if !slices.Contains(reference.Required, name) {
			found = append(found, fmt.Sprintf("%s: requires %q, the reference does not", path, name))
		}
	}
	return found
}

// narrowerBounds compares lengths, sizes, ranges and patterns.
func narrowerBounds(path string, reference, ours *apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	lower := func(what string, theirs, ours *int64) {
		if ours != nil && (theirs == nil || *ours > *theirs) && *ours > 0 {
			found = append(found, fmt.Sprintf("%s: %s %d is narrower", path, what, *ours))
		}
	}
	upper := func(what string, theirs, ours *int64) {
		if ours != nil && (theirs == nil || *ours < *theirs) {
			found = append(found, fmt.Sprintf("%s: %s %d is narrower", path, what, *ours))
		}
	}
	lower("minLength", reference.MinLength, ours.MinLength)
	upper("maxLength", reference.MaxLength, ours.MaxLength)
	lower("minItems", reference.MinItems, ours.MinItems)
	upper("maxItems", reference.MaxItems, ours.MaxItems)
	lower("minProperties", reference.MinProperties, ours.MinProperties)
	upper("maxProperties", reference.MaxProperties, ours.MaxProperties)
	if ours.Minimum != nil && (reference.Minimum == nil || *ours.Minimum > *reference.Minimum) {
		found = append(found, fmt.Sprintf("%s: minimum %v is narrower", path, *ours.Minimum))
	}
	if ours.Maximum != nil && (reference.Maximum == nil || *ours.Maximum < *reference.Maximum) {
		found = append(found, fmt.Sprintf("%s: maximum %v is narrower", path, *ours.Maximum))
	}
	if ours.ExclusiveMinimum && !reference.ExclusiveMinimum || ours.ExclusiveMaximum && !reference.ExclusiveMaximum {
		found = append(found, path+": an exclusive bound is narrower")
	}
	if ours.Pattern != "" && ours.Pattern != reference.Pattern {
		found = append(found, fmt.Sprintf("%s: pattern %q is narrower", path, ours.Pattern))
	}
	if ours.MultipleOf != nil || ours.UniqueItems && !reference.UniqueItems {
		found = append(found, path+": multipleOf or uniqueItems is narrower")
	}
	return found
}

// narrowerExtensions compares CEL rules, combinators and list types.
func narrowerExtensions(path string, reference, ours *apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	if len(ours.XValidations) > 0 {
		found = append(found, path+": has CEL rules")
	}
	if len(ours.AllOf)+len(ours.AnyOf)+len(ours.OneOf) > 0 || ours.Not != nil {
		found = append(found, path+": has a combinator, which this comparison does not judge")
	}
	listType := func(schema *apiextensionsv1.JSONSchemaProps) string {
		if schema.XListType == nil {
			return "atomic"
		}
		return *schema.XListType
	}
	if a, b := listType(reference), listType(ours); a != b {
		found = append(found, fmt.Sprintf("%s: list type %q, reference has %q", path, b, a))
	}
	return found
}

// narrowerChildren walks properties, items and map values.
func narrowerChildren(path string, reference, ours *apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	names := make([]string, 0, len(reference.Properties))
	for name := range reference.Properties {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		theirs := reference.Properties[name]
		mine, ok := ours.Properties[name]
		if !ok {
			found = append(found, fmt.Sprintf("%s.%s: is missing", path, name))
			continue
		}
		found = append(found, narrower(path+"."+name, &theirs, &mine)...)
	}
	if reference.Items != nil && reference.Items.Schema != nil {
		if ours.Items == nil || ours.Items.Schema == nil {
			return append(found, path+"[]: is missing")
		}
		found = append(found, narrower(path+"[]", reference.Items.Schema, ours.Items.Schema)...)
	}
	if reference.AdditionalProperties != nil && reference.AdditionalProperties.Schema != nil {
		if ours.AdditionalProperties == nil || ours.AdditionalProperties.Schema == nil {
			return append(found, path+"{}: is missing")
		}
		found = append(found, narrower(path+"{}", reference.AdditionalProperties.Schema, ours.AdditionalProperties.Schema)...)
	}
	return found
}

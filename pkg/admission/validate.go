package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Validator answers the validating webhook of one kind.
type Validator struct {
	// Object makes an empty object of the kind.
	Object func() meshv1beta2.Object
	Deps   Deps
}

// Handle implements admission.Handler. All broken rules are named in one answer.
func (v *Validator) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	object, err := v.decode(req.Object.Raw, req.Namespace)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var old meshv1beta2.Object
	if req.Operation == admissionv1.Update {
		if old, err = v.decode(req.OldObject.Raw, req.Namespace); err != nil {
			return admission.Errored(http.StatusBadRequest, fmt.Errorf("old object: %w", err))
		}
	}
	denials, err := v.places(ctx, object, old)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	var warnings []string
	for _, f := range v.Deps.Rules.Object(object, old) {
		if f.Rule.Class == meshv1beta2.ClassReject {
			denials = append(denials, f.String())
		} else {
			warnings = append(warnings, f.String())
		}
	}
	if len(denials) > 0 {
		return admission.Denied(strings.Join(denials, "; "))
	}
	return admission.Allowed("").WithWarnings(warnings...)
}

// places judges what depends on other objects: the name of a new object, and references that an update writes.
func (v *Validator) places(ctx context.Context, object, old meshv1beta2.Object) ([]string, error) {
	if old == nil {
		return foreignName(ctx, v.Deps, object)
	}
	return repairer{v.Deps}.allow(ctx, object, old)
}

func (v *Validator) decode(raw []byte, namespace string) (meshv1beta2.Object, error) {
	object := v.Object()
	if err := json.Unmarshal(raw, object); err != nil {
		return nil, undecodable(object.Common().Kind, err)
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(namespace)
	}
	return object, nil
}

// undecodable says, without the decoder's words, where JSON does not fit the kind.
func undecodable(kind string, err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("the object cannot be decoded as %s: field %s has a %s where another type belongs", kind, wrong.Field, wrong.Value)
	}
	return fmt.Errorf("the object cannot be decoded as %s: it is not a JSON object", kind)
}

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
)

// Mutator answers the mutating webhook of one kind.
type Mutator struct {
	// Kind of the objects.
	Kind string
	Deps Deps
}

// system is the part of an object that the mutator reads. The rest is left to the schema, whose messages are better.
type system struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		AWSName           *string                              `json:"awsName"`
		MeshRef           *meshv1beta2.MeshReference           `json:"meshRef"`
		VirtualGatewayRef *meshv1beta2.VirtualGatewayReference `json:"virtualGatewayRef"`
	} `json:"spec"`
}

// denial is an error whose text is the answer to the user.
type denial struct{ message string }

func (d denial) Error() string { return d.message }

// Handle implements admission.Handler.
func (m *Mutator) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	var known system
	p := &patch{}
	if err := decode(m.Kind, req.Object.Raw, &known, &p.object); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if known.Metadata.Namespace == "" {
		known.Metadata.Namespace = req.Namespace
	}
	if req.Operation == admissionv1.Create {
		err := m.create(ctx, p, &known)
		var denied denial
		switch {
		case errors.As(err, &denied):
			return admission.Denied(denied.message)
		case err != nil:
			return admission.Errored(http.StatusInternalServerError, err)
		}
	} else if err := m.restore(p, req.OldObject.Raw); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if m.Kind == "Mesh" {
		m.preferFamily(p)
	}
	p.prune(m.Kind)
	if len(p.operations) == 0 {
		return admission.Allowed("")
	}
	return admission.Patched("", p.operations...)
}

// decode reads an object in both shapes.
func decode(kind string, raw []byte, known *system, all *map[string]any) error {
	if err := json.Unmarshal(raw, all); err != nil || *all == nil {
		return undecodable(kind, err)
	}
	if err := json.Unmarshal(raw, known); err != nil {
		return undecodable(kind, err)
	}
	return nil
}

// create fills in a new object: mesh, gateway, name, in this order. The error is a denial if the user is to correct something.
func (m *Mutator) create(ctx context.Context, p *patch, known *system) error {
	place := placer{m.Deps}
	switch m.Kind {
	case "Mesh", "Route":
	default:
		mesh, err := place.mesh(ctx, known.Metadata.Namespace)
		if err != nil {
			return err
		}
		ref := meshv1beta2.MeshReference{Name: mesh.Name, UID: mesh.UID}
		if err := m.setMesh(p, known.Spec.MeshRef, ref); err != nil {
			return err
		}
		if m.Kind == "GatewayRoute" {
			gateway, err := place.gateway(ctx, &known.Metadata, ref, known.Spec.VirtualGatewayRef)
			if err != nil {
				return err
			}
			if err := m.setGateway(p, known.Spec.VirtualGatewayRef, gateway); err != nil {
				return err
			}
		}
	}
	m.setName(p, known)
	return nil
}

// setMesh writes the mesh that was found. A reference that came with the object must be the same one, as it is in objects
// exported from this cluster.
func (m *Mutator) setMesh(p *patch, given *meshv1beta2.MeshReference, found meshv1beta2.MeshReference) error {
	if message := membership.GivenMesh(m.Kind, given, found); message != "" {
		return denial{message}
	}
	if given == nil || given.UID == "" {
		p.set("meshRef", map[string]any{"name": found.Name, "uid": string(found.UID)})
	}
	return nil
}

// setGateway does the same for the gateway.
func (m *Mutator) setGateway(p *patch, given *meshv1beta2.VirtualGatewayReference, found *meshv1beta2.VirtualGateway) error {
	if message := membership.GivenGateway(m.Kind, given, found); message != "" {
		return denial{message}
	}
	if given == nil || given.UID == "" || given.NamespaceOr("") == "" {
		p.set("virtualGatewayRef", map[string]any{"namespace": found.Namespace, "name": found.Name, "uid": string(found.UID)})
	}
	return nil
}

// setName gives an object without awsName the default of its kind. An object that will get its name from generateName is left
// to the operator.
func (m *Mutator) setName(p *patch, known *system) {
	if known.Spec.AWSName != nil && *known.Spec.AWSName != "" {
		return
	}
	object := meshv1beta2.NewObject(m.Kind)
	if object.Common().AWSName == nil {
		return
	}
	object.SetName(known.Metadata.Name)
	object.SetNamespace(known.Metadata.Namespace)
	if name := meshv1beta2.DefaultName(object); name != "" {
		p.set("awsName", name)
	}
}

// systemFields are those that an update may leave out and keeps.
var systemFields = []string{"awsName", "meshRef", "virtualGatewayRef"}

// restore puts back system fields that the old object had and the new one lacks.
func (m *Mutator) restore(p *patch, oldRaw []byte) error {
	old := &patch{}
	if err := json.Unmarshal(oldRaw, &old.object); err != nil {
		return fmt.Errorf("old object: %w", undecodable(m.Kind, err))
	}
	for _, field := range systemFields {
		if before := old.spec()[field]; !empty(before) && empty(p.spec()[field]) {
			p.set(field, before)
		}
	}
	return nil
}

// empty says whether a value is absent, an empty string or an object whose members are all empty.
func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		for _, member := range v {
			if !empty(member) {
				return false
			}
		}
		return true
	}
	return false
}

// preferFamily aligns a mesh's address family with the cluster's: a cluster with IPv6 alone forces it, a cluster with IPv4
// alone corrects what was written, a cluster with both leaves the choice to the user.
func (m *Mutator) preferFamily(p *patch) {
	const field = "meshServiceDiscovery"
	block, _ := p.spec()[field].(map[string]any)
	var want meshv1beta2.IPPreference
	switch m.Deps.Families() {
	case "6":
		want = meshv1beta2.IPPreferenceIPv6Only
	case "46":
		return
	default:
		if block == nil {
			return
		}
		want = meshv1beta2.IPPreferenceIPv4Only
	}
	if block["ipPreference"] != string(want) {
		p.set(field, map[string]any{"ipPreference": string(want)})
	}
}

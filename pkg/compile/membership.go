package compile

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// meshInfo is one Mesh with its effective name. A mesh that lost its name to an older one is not usable.
type meshInfo struct {
	// exits are made at first use.
	exits    *exits
	object   *meshv1beta2.Mesh
	name     string
	usable   bool
	allowAll bool
	pref     mesh.IPPreference
	// What MeshSettings say.
	http        mesh.HTTPOptions
	trustedHops uint32
	keepAlive   *mesh.KeepAlive
}

// indexMeshes finds the usable meshes, oldest first.
func (b *builder) indexMeshes() {
	taken := map[string]*meshInfo{}
	for _, m := range b.of.Meshes {
		info := &meshInfo{object: m, name: meshv1beta2.EffectiveName(m), usable: true}
		o := input.ID(m)
		info.allowAll = m.Spec.EgressFilter != nil && m.Spec.EgressFilter.Type == meshv1beta2.EgressFilterAllowAll
		if d := m.Spec.MeshServiceDiscovery; d != nil && d.IPPreference != nil {
			info.pref = mesh.IPPreference(*d.IPPreference)
		}
		if winner := taken[info.name]; winner != nil {
			info.usable = false
			b.nameConflict(o, input.ID(winner.object), info.name)
		} else if b.goodName(o, info.name) {
			taken[info.name] = info
		} else {
			info.usable = false
		}
		b.names[o] = input.Place{Mesh: info.name, Name: info.name, MeshRef: meshv1beta2.MeshReference{Name: m.Name, UID: m.UID}}
		b.meshes = append(b.meshes, info)
	}
}

// maxName is the longest awsName. Source: App Mesh API reference, resource names.
const maxName = 255

// goodName rejects names that no proxy could carry.
func (b *builder) goodName(o mesh.Object, name string) bool {
	switch {
	case len(name) > maxName: // reported by validate
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) || strings.ContainsAny(name, "*/"):
		b.problem(mesh.Problem{Object: o, Severity: mesh.Rejected, Reason: meshv1beta2.ReasonInvalidConfiguration, Path: "spec.awsName",
			Message: fmt.Sprintf("awsName %q contains a blank, a control character, * or /; create the object again with another name", name)})
	case name == "":
		b.problem(mesh.Problem{Object: o, Severity: mesh.Rejected, Reason: meshv1beta2.ReasonInvalidConfiguration, Path: "metadata.name",
			Message: "the object has no name"})
	default:
		return true
	}
	return false
}

// nameConflict reports a name that two objects claim, on both of them; the older one keeps it.
func (b *builder) nameConflict(loser, winner mesh.Object, name string) {
	b.loses(loser, fmt.Sprintf("the name %q belongs to the older %s; this object is not served until that one goes or one of them is created again under another awsName", name, winner))
	b.problem(mesh.Problem{Object: winner, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonNameConflict, Path: "spec.awsName",
		Message: fmt.Sprintf("%s claims the same name %q; this object is older and keeps it", loser, name)})
}

// loses reports an object that has not got its name.
func (b *builder) loses(o mesh.Object, why string) {
	b.problem(mesh.Problem{Object: o, Severity: mesh.Rejected, Reason: meshv1beta2.ReasonNameConflict, Path: "spec.awsName", Message: why})
}

// selectorOf converts a label selector; a nil one selects nothing, and so does a malformed one, which validate reports.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return sel
}

// joinMeshes finds the mesh of every object that needs one.
func (b *builder) joinMeshes() {
	joinAll(b, b.of.VirtualNodes)
	joinAll(b, b.of.VirtualServices)
	joinAll(b, b.of.VirtualRouters)
	joinAll(b, b.of.VirtualGateways)
	joinAll(b, b.of.GatewayRoutes)
	joinAll(b, b.of.BackendGroups)
}

func joinAll[T meshv1beta2.Object](b *builder, list []T) {
	for _, o := range list {
		if m := b.join(o); m != nil {
			b.meshOf[input.ID(o)] = m
		}
	}
}

// join returns the mesh that the object's stored reference names, or the one whose selector takes its namespace when there is
// no reference or the mesh it names does not exist any more.
func (b *builder) join(o meshv1beta2.Object) *meshInfo {
	if ref := *o.Common().MeshRef; ref != nil {
		for _, m := range b.meshes {
			if m.object.Name == ref.Name && (m.object.UID == ref.UID || b.in.Settings.Offline) {
				return b.usableMesh(o, m)
			}
		}
	}
	found, problem := b.designate(o.GetNamespace())
	if problem == nil {
		return b.usableMesh(o, found)
	}
	if problem.Found == 0 && b.in.Settings.Offline && len(b.meshes) == 1 {
		m := b.meshes[0]
		b.problem(mesh.Problem{Object: input.ID(o), Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: "metadata.namespace",
			Message: fmt.Sprintf("no Mesh selects namespace %q by the labels given here; it is taken as part of the only Mesh, %s", o.GetNamespace(), m.object.Name)})
		return b.usableMesh(o, m)
	}
	b.problem(mesh.Problem{Object: input.ID(o), Severity: mesh.Rejected, Reason: problem.Reason, Path: "spec.meshRef", Message: problem.Message})
	return nil
}

// designation is the mesh of a namespace, or why it has none.
type designation struct {
	mesh    *meshInfo
	problem *membership.Problem
}

// designate finds the mesh that selects a namespace, once per pass.
func (b *builder) designate(namespace string) (*meshInfo, *membership.Problem) {
	d, known := b.designated[namespace]
	if !known {
		m, problem := membership.DesignateMesh(b.of.Meshes, namespace, b.namespaceLabels(namespace))
		if d.problem = problem; problem == nil {
			d.mesh = b.meshes[slices.IndexFunc(b.meshes, func(i *meshInfo) bool { return i.object == m })]
		}
		b.designated[namespace] = d
	}
	return d.mesh, d.problem
}

func (b *builder) usableMesh(o meshv1beta2.Object, m *meshInfo) *meshInfo {
	if m.usable {
		return m
	}
	b.problem(mesh.Problem{Object: input.ID(o), Severity: mesh.Rejected, Reason: meshv1beta2.ReasonMeshNotActive, Path: "spec.meshRef",
		Message: fmt.Sprintf("Mesh %s is not served, see its conditions", m.object.Name)})
	return nil
}

// namespaceLabels are the labels of a namespace; one that is not known carries at least its name.
func (b *builder) namespaceLabels(ns string) map[string]string {
	if l, ok := b.labels[ns]; ok {
		return l
	}
	return map[string]string{"kubernetes.io/metadata.name": ns}
}

package compile

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// everyService is the group name that stands for every VirtualService of a namespace. Source: App Mesh controller, backend groups.
const everyService = "*"

// indexGroups finds the backend groups by name. A group's own mesh is never compared with that of a node: its members are.
func (b *builder) indexGroups() {
	b.groupOf = make(map[types.NamespacedName]*meshv1beta2.BackendGroup, len(b.of.BackendGroups))
	for _, g := range b.of.BackendGroups {
		b.groupOf[keyOf(g)] = g
		if !b.in.Settings.BackendGroups && b.meshOf[input.ID(g)] != nil {
			b.groupsAreOff(input.ID(g), "spec")
		}
	}
}

// checkGroups reports the members of groups that do not exist, on the groups. A name that a node has found in its own namespace is no such member.
func (b *builder) checkGroups() {
	if !b.in.Settings.BackendGroups {
		return
	}
	for _, g := range b.of.BackendGroups {
		self := input.ID(g)
		if b.meshOf[self] == nil {
			continue
		}
		for i, ref := range g.Spec.VirtualServices {
			if key := ref.Resolve(g.Namespace); key.Name != everyService && b.virtuals[key] == nil && !b.besideNodes[key] {
				b.dangling(self, "spec.virtualservices["+strconv.Itoa(i)+"]", meshv1beta2.ReasonVirtualServiceNotFound,
					fmt.Sprintf("VirtualService %s/%s does not exist or is not served; nodes of the group go on without it", key.Namespace, key.Name))
			}
		}
	}
}

func (b *builder) groupsAreOff(o mesh.Object, path string) {
	b.problem(mesh.Problem{Object: o, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: path,
		Message: "backend groups have no effect unless the operator runs with --enable-backend-groups"})
}

// groupBackends adds the services of the node's backend groups. A backend that the node names itself comes first and keeps its own
// policy; members of groups have none, so the node's defaults apply to them.
func (b *builder) groupBackends(n *node, w *mesh.Workload, add func(*virtualService)) {
	if len(n.object.Spec.BackendGroups) == 0 {
		return
	}
	if !b.in.Settings.BackendGroups {
		b.groupsAreOff(n.self, "spec.backendGroups")
		return
	}
	for i, ref := range n.object.Spec.BackendGroups {
		at := "spec.backendGroups[" + strconv.Itoa(i) + "]"
		key := ref.Resolve(n.self.Namespace)
		if key.Name == everyService {
			b.everyServiceOf(key.Namespace, n.mesh, add)
			continue
		}
		g := b.groupOf[key]
		if g == nil {
			b.dangling(n.self, at, meshv1beta2.ReasonBackendGroupNotFound,
				fmt.Sprintf("BackendGroup %s/%s does not exist; the node goes on without its members", key.Namespace, key.Name))
			continue
		}
		w.Also = append(w.Also, input.ID(g))
		b.membersOf(n, g, at, add)
	}
}

// everyServiceOf adds all services of a namespace that belong to the mesh.
func (b *builder) everyServiceOf(namespace string, m *meshInfo, add func(*virtualService)) {
	if b.virtualsIn == nil {
		b.virtualsIn = map[string][]*virtualService{}
		for _, o := range b.of.VirtualServices {
			if v := b.virtuals[keyOf(o)]; v != nil && v.object == o {
				b.virtualsIn[o.Namespace] = append(b.virtualsIn[o.Namespace], v)
			}
		}
	}
	for _, v := range b.virtualsIn[namespace] {
		if v.mesh == m {
			add(v)
		}
	}
}

// membersOf adds the services that a group names. A name without a namespace means the group's own and, because the App Mesh controller
// looked there, the node's next. Members that are missing are skipped.
func (b *builder) membersOf(n *node, g *meshv1beta2.BackendGroup, at string, add func(*virtualService)) {
	var beside, missing, strange []string
	for _, ref := range g.Spec.VirtualServices {
		key := ref.Resolve(g.Namespace)
		v := b.virtuals[key]
		if other := ref.Resolve(n.self.Namespace); v == nil && other != key && b.virtuals[other] != nil {
			v = b.virtuals[other]
			beside = append(beside, ref.Name)
			b.besideNodes[key] = true
		}
		switch {
		case v == nil:
			missing = append(missing, key.Namespace+"/"+key.Name)
		case v.mesh != n.mesh:
			strange = append(strange, v.self.Namespace+"/"+v.self.Name)
		default:
			add(v)
		}
	}
	note := func(names []string, format string, args ...any) {
		if len(names) > 0 {
			b.problem(mesh.Problem{Object: n.self, Severity: mesh.Adjusted, Reason: meshv1beta2.ReasonAdjusted, Path: at,
				Message: fmt.Sprintf("%s: VirtualService %s ", input.ID(g), some(names)) + fmt.Sprintf(format, args...)})
		}
	}
	note(beside, "has no namespace there and was found beside the node, not beside the group: write namespace %q", n.self.Namespace)
	note(missing, "does not exist or is not served; the node goes on without it")
	note(strange, "belongs to another mesh than %q; the node goes on without it", n.mesh.name)
}

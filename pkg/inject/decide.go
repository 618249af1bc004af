package inject

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Objects is what the decision about a pod rests on. It is read only.
type Objects struct {
	// Namespace is that of the admission request; a pod's own may be empty.
	Namespace string
	// NamespaceLabels are the labels of that namespace.
	NamespaceLabels map[string]string
	// VirtualNodes and VirtualGateways of that namespace, defaulted (meshRef), in any order. Others are ignored.
	VirtualNodes    []*meshv1beta2.VirtualNode
	VirtualGateways []*meshv1beta2.VirtualGateway
	// Meshes holds at least those that the nodes and gateways refer to.
	Meshes []*meshv1beta2.Mesh
}

// Target is what a pod is injected as: exactly one of Node and Gateway is set.
type Target struct {
	Mesh    *meshv1beta2.Mesh
	Node    *meshv1beta2.VirtualNode
	Gateway *meshv1beta2.VirtualGateway
}

// Name is the target's identity "mesh/<mesh>/virtualNode/<name>" or ".../virtualGateway/<name>" with the names that the
// mesh knows them by. It is the value of the annotation AnnotationNode.
func (t Target) Name() string { return t.name("") }

// name inserts the mesh's owner behind the mesh, as App Mesh does for shared meshes.
func (t Target) name(owner string) string {
	mesh := meshv1beta2.EffectiveName(t.Mesh)
	if owner != "" {
		mesh += "@" + owner
	}
	if t.Gateway != nil {
		return fmt.Sprintf("mesh/%s/virtualGateway/%s", mesh, meshv1beta2.EffectiveName(t.Gateway))
	}
	return fmt.Sprintf("mesh/%s/virtualNode/%s", mesh, meshv1beta2.EffectiveName(t.Node))
}

// nodeID is what Envoy calls itself and what App Mesh's variables hold: Name with the mesh's owner if that is foreign.
func (t Target) nodeID(accountID string) string {
	if owner := t.Mesh.Spec.MeshOwner; owner != nil && *owner != accountID {
		return t.name(*owner)
	}
	return t.Name()
}

// String names the object for messages.
func (t Target) String() string {
	if t.Gateway != nil {
		return "VirtualGateway " + t.Gateway.Namespace + "/" + t.Gateway.Name
	}
	return "VirtualNode " + t.Node.Namespace + "/" + t.Node.Name
}

// Decision is the answer to whether a pod joins a mesh.
type Decision struct {
	Outcome Outcome
	// Target is set when Outcome is Injected.
	Target Target
	// Reason is one sentence for a stranger.
	Reason   string
	Warnings []string
	// Unsure is true when the decision rests on something that was not found or was found twice. Whoever reads from a
	// cache must read again from the API server before acting on it.
	Unsure bool
}

// mode is what label and annotation say about injection.
type mode int

const (
	unspecified mode = iota
	enabled
	disabled
)

// parseMode reads a value of LabelInject; anything but the two words is unspecified, as in App Mesh.
func parseMode(value string) mode {
	switch strings.ToLower(value) {
	case "enabled":
		return enabled
	case "disabled":
		return disabled
	default:
		return unspecified
	}
}

// Labels and container names that decide about injection.
const (
	// argoHashLabel tells the ReplicaSets of an Argo Rollout apart. Argo puts it into the selectors of nodes.
	argoHashLabel = "rollouts-pod-template-hash"
	windows       = corev1.Windows
)

// foreignProxies are the containers of other meshes, which redirect the same traffic.
var foreignProxies = []string{"istio-proxy", "linkerd-proxy"}

// Decide applies App Mesh's table: the mode by annotation or namespace label, then which nodes and gateways select the pod.
//
//  1. disabled: untouched, nothing else is looked at.
//  2. Selectors are evaluated; an unusable one denies, and so do two matches of a kind or one of each.
//  3. Nothing matches: where only Argo's hash keeps a node from matching, the pod counts as that node's; else it is denied when
//     enabled, and otherwise untouched.
//  4. A pod that must not be redirected (host network, Windows, another mesh's proxy) is left alone.
func Decide(pod *corev1.Pod, o Objects) Decision {
	d := decider{pod: pod, objects: o, name: podName(o.Namespace, pod)}
	value, annotated := pod.Annotations[meshv1beta2.LabelInject]
	source := "annotation"
	if !annotated {
		value, source = o.NamespaceLabels[meshv1beta2.LabelInject], "namespace label"
	}
	d.mode, d.annotated = parseMode(value), annotated
	if d.mode == disabled {
		return d.untouched("injection is disabled by the %s %s", source, meshv1beta2.LabelInject)
	}
	if d.mode == unspecified && value != "" {
		d.warn("the %s %s has the value %q, which is neither enabled nor disabled and counts as not set", source, meshv1beta2.LabelInject, value)
	}
	decision, done := d.match()
	if done {
		return decision
	}
	if reason := d.obstacle(); reason != "" {
		if d.mode == enabled && annotated {
			return d.denied("sidecarInject enabled but %s", reason)
		}
		d.warn("%s selects the pod, but %s: it runs outside the mesh", d.target, reason)
		return d.untouched("%s", reason)
	}
	return Decision{Outcome: Injected, Target: d.target, Reason: "injected as " + d.target.String() + d.except, Unsure: d.except != "", Warnings: d.warnings}
}

// decider carries one decision through its steps.
type decider struct {
	pod       *corev1.Pod
	objects   Objects
	name      string
	mode      mode
	annotated bool
	target    Target
	// except says what the target's selector asks for that the pod does not have yet.
	except   string
	warnings []string
}

func (d *decider) warn(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

func (d *decider) untouched(format string, args ...any) Decision {
	return Decision{Outcome: Untouched, Reason: fmt.Sprintf(format, args...), Warnings: d.warnings}
}

func (d *decider) denied(format string, args ...any) Decision {
	return Decision{Outcome: Denied, Reason: fmt.Sprintf(format, args...), Warnings: d.warnings}
}

// unsure marks a decision that another read might change.
func unsure(decision Decision) (Decision, bool) {
	decision.Unsure = true
	return decision, true
}

// match finds the one target. It reports true when the decision is already made without one.
func (d *decider) match() (Decision, bool) {
	nodes, err := selected(d.objects.VirtualNodes, d.objects.Namespace, d.pod, nodeSelector)
	if err != nil {
		return d.denied("VirtualNode %v", err), true
	}
	if len(nodes) > 1 {
		return unsure(d.denied("found multiple matching VirtualNodes for pod %s: %s", d.name, names(nodes)))
	}
	gateways, err := selected(d.objects.VirtualGateways, d.objects.Namespace, d.pod, gatewaySelector)
	if err != nil {
		return d.denied("VirtualGateway %v", err), true
	}
	if len(gateways) > 1 {
		return unsure(d.denied("found multiple matching VirtualGateways for pod %s: %s", d.name, names(gateways)))
	}
	if len(nodes) == 1 && len(gateways) == 1 {
		return unsure(d.denied("sidecarInject enabled for both VirtualNode %s and VirtualGateway %s on pod %s. Please use podSelector on one",
			names(nodes), names(gateways), d.name))
	}
	var ref *meshv1beta2.MeshReference
	switch {
	case len(nodes) == 1:
		d.target.Node, ref = nodes[0], nodes[0].Spec.MeshRef
	case len(gateways) == 1:
		d.target.Gateway, ref = gateways[0], gateways[0].Spec.MeshRef
	}
	if ref == nil {
		if ref = d.waitForArgo(); ref == nil {
			return unsure(d.unmatched())
		}
	}
	if d.target.Mesh = findMesh(d.objects.Meshes, ref); d.target.Mesh == nil {
		return unsure(d.denied("%s belongs to Mesh %s, which does not exist", d.target, ref.Name))
	}
	return Decision{}, false
}

// unmatched decides about a pod that no node or gateway of a mesh selects.
func (d *decider) unmatched() Decision {
	hint := ""
	if d.target.Node != nil || d.target.Gateway != nil {
		hint = fmt.Sprintf(" (%s selects the pod but has no meshRef: no Mesh selects its namespace)", d.target)
	} else {
		hint = d.nearest()
	}
	if reason := d.obstacle(); reason != "" && !(d.mode == enabled && d.annotated) {
		return d.untouched("%s", reason)
	}
	if d.mode == enabled {
		return d.denied("sidecarInject enabled but no matching VirtualNode or VirtualGateway found%s", hint)
	}
	d.warn("namespace %s takes part in injection, but no VirtualNode or VirtualGateway selects pod %s: it runs outside the mesh%s",
		d.objects.Namespace, d.name, hint)
	return d.untouched("no matching VirtualNode or VirtualGateway found%s", hint)
}

// waitForArgo takes the oldest node that would select the pod if its selector did not name another hash of Argo's, and returns its
// mesh; nil if there is none. A selector that names nothing but the hash says too little about which pods are meant.
//
// Argo Rollouts writes the hash of a first deployment only when its pods are available: to refuse them would be permanent, and to
// leave them alone would leave them outside. Until the hash is there no node has them as endpoints.
func (d *decider) waitForArgo() *meshv1beta2.MeshReference {
	if _, ok := d.pod.Labels[argoHashLabel]; !ok {
		return nil
	}
	waiting, err := selected(d.objects.VirtualNodes, d.objects.Namespace, d.pod, selectorWithoutHash)
	if err != nil || len(waiting) == 0 {
		return nil // the whole selectors were usable
	}
	oldest := slices.MinFunc(waiting, func(x, y *meshv1beta2.VirtualNode) int {
		return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), cmp.Compare(x.Name, y.Name))
	})
	if oldest.Spec.MeshRef != nil {
		d.target, d.except = Target{Node: oldest}, ", until Argo Rollouts writes the label "+argoHashLabel+" of the pod into the podSelector of a node"
	}
	return oldest.Spec.MeshRef
}

func selectorWithoutHash(n *meshv1beta2.VirtualNode) *metav1.LabelSelector {
	if n.Spec.PodSelector == nil {
		return nil
	}
	selector := n.Spec.PodSelector.DeepCopy()
	delete(selector.MatchLabels, argoHashLabel)
	selector.MatchExpressions = slices.DeleteFunc(selector.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
		return r.Key == argoHashLabel
	})
	if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return nil
	}
	return selector
}

// obstacle says why a pod must not get a proxy although it is selected; empty if nothing stands against it.
func (d *decider) obstacle() string { return obstacle(d.pod, d.target.Gateway != nil) }

func obstacle(pod *corev1.Pod, gateway bool) string {
	if ForWindows(pod) {
		return "the pod runs on Windows, where there is no sidecar"
	}
	if pod.Spec.HostNetwork && !gateway {
		return "the pod uses the host network, where redirection would take the traffic of the whole node"
	}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			if slices.Contains(foreignProxies, c.Name) {
				return fmt.Sprintf("the pod already has the proxy %s of another mesh", c.Name)
			}
		}
	}
	return ""
}

// ForWindows is true for pods that say that they run on Windows: by spec.os, or by the label that a node must have.
func ForWindows(pod *corev1.Pod) bool {
	if pod.Spec.OS != nil {
		return pod.Spec.OS.Name == windows
	}
	return pod.Spec.NodeSelector[corev1.LabelOSStable] == string(windows) || pod.Spec.NodeSelector["beta.kubernetes.io/os"] == string(windows) || mustRunOnWindows(pod.Spec.Affinity)
}

// mustRunOnWindows is true when all of the alternatives that an affinity leaves are nodes with Windows.
func mustRunOnWindows(a *corev1.Affinity) bool {
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return false
	}
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	other := slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(t.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == corev1.LabelOSStable && r.Operator == corev1.NodeSelectorOpIn && slices.Equal(r.Values, []string{string(windows)})
		})
	})
	return len(terms) > 0 && !other
}

// Exempt is true for pods that get no proxy of ours whatever selects them, because they were told so or because it cannot be.
func Exempt(pod *corev1.Pod) bool {
	return parseMode(pod.Annotations[meshv1beta2.LabelInject]) == disabled || obstacle(pod, false) != ""
}

// EnvoyContainer is the name of the container that is the proxy, of sidecars and of gateways.
const EnvoyContainer = envoyContainer

// Proxies are the names of containers by which Exempt and HasEnvoy judge.
func Proxies() []string { return append([]string{envoyContainer}, foreignProxies...) }

// HasEnvoy is true for pods with a container of the proxy's name: injected ones, gateways, and those that bring their own.
func HasEnvoy(pod *corev1.Pod) bool {
	named := func(c corev1.Container) bool { return c.Name == envoyContainer }
	return slices.ContainsFunc(pod.Spec.Containers, named) || slices.ContainsFunc(pod.Spec.InitContainers, named)
}

func nodeSelector(n *meshv1beta2.VirtualNode) *metav1.LabelSelector       { return n.Spec.PodSelector }
func gatewaySelector(g *meshv1beta2.VirtualGateway) *metav1.LabelSelector { return g.Spec.PodSelector }

// selected returns the objects of namespace whose selector matches the pod's labels, sorted by name. An absent selector
// matches nothing, an empty one everything. The error names the object with an unusable selector.
func selected[T metav1.Object](objects []T, namespace string, pod *corev1.Pod, selector func(T) *metav1.LabelSelector) ([]T, error) {
	var matching []T
	for _, object := range objects {
		if object.GetNamespace() != namespace {
			continue
		}
		s, err := metav1.LabelSelectorAsSelector(selector(object))
		if err != nil {
			return nil, fmt.Errorf("%s/%s has an invalid podSelector: %w", namespace, object.GetName(), err)
		}
		if s.Matches(labels.Set(pod.Labels)) {
			matching = append(matching, object)
		}
	}
	slices.SortFunc(matching, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	return matching, nil
}

// names lists objects as "<namespace>/<name>,…".
func names[T metav1.Object](objects []T) string {
	var list []string
	for _, object := range objects {
		list = append(list, object.GetNamespace()+"/"+object.GetName())
	}
	return strings.Join(list, ",")
}

// findMesh finds the referenced mesh. An object of the same name but another UID is another mesh; offline objects have none.
func findMesh(meshes []*meshv1beta2.Mesh, ref *meshv1beta2.MeshReference) *meshv1beta2.Mesh {
	for _, mesh := range meshes {
		if mesh.Name == ref.Name && (mesh.UID == ref.UID || mesh.UID == "" || ref.UID == "") {
			return mesh
		}
	}
	return nil
}

package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// change alters the pod and the objects of a row.
type change func(*corev1.Pod, *Objects)

func annotated(key, value string) change {
	return func(p *corev1.Pod, _ *Objects) { p.Annotations = map[string]string{key: value} }
}

func namespace(value string) change {
	return func(_ *corev1.Pod, o *Objects) { o.NamespaceLabels = map[string]string{meshv1beta2.LabelInject: value} }
}

func labelled(key, value string) change {
	return func(p *corev1.Pod, _ *Objects) { p.Labels[key] = value }
}

func matching(labels ...string) *metav1.LabelSelector {
	s := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		s.MatchLabels[labels[i]] = labels[i+1]
	}
	return s
}

func node(name string, selector *metav1.LabelSelector) change {
	return func(_ *corev1.Pod, o *Objects) {
		n := &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "demo"}}
		n.Spec.PodSelector, n.Spec.MeshRef = selector, &meshv1beta2.MeshReference{Name: "demo", UID: "m1"}
		o.VirtualNodes = append(o.VirtualNodes, n)
	}
}

func gatewayNamed(name string, selector *metav1.LabelSelector) change {
	return func(_ *corev1.Pod, o *Objects) {
		g := &meshv1beta2.VirtualGateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "demo"}}
		g.Spec.PodSelector, g.Spec.MeshRef = selector, &meshv1beta2.MeshReference{Name: "demo", UID: "m1"}
		o.VirtualGateways = append(o.VirtualGateways, g)
	}
}

func withoutMesh(_ *corev1.Pod, o *Objects) {
	for _, n := range o.VirtualNodes {
		n.Spec.MeshRef = nil
	}
}

func decide(changes ...change) Decision {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ignored", Labels: map[string]string{"app": "front"}}}
	o := Objects{
		Namespace: "demo", NamespaceLabels: map[string]string{meshv1beta2.LabelInject: "enabled"},
		Meshes: []*meshv1beta2.Mesh{{ObjectMeta: metav1.ObjectMeta{Name: "demo", UID: "m1"}}},
	}
	for _, c := range changes {
		c(pod, &o)
	}
	return Decide(pod, o)
}

// Parts of the rows below.
var (
	front       = matching("app", "front")
	anything    = &metav1.LabelSelector{}
	invalid     = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	hostNetwork = func(p *corev1.Pod, _ *Objects) { p.Spec.HostNetwork = true }
	onWindows   = func(p *corev1.Pod, _ *Objects) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }
	withIstio   = func(p *corev1.Pod, _ *Objects) {
		p.Spec.InitContainers = []corev1.Container{{Name: "istio-proxy"}}
	}
	noMesh    = func(_ *corev1.Pod, o *Objects) { o.Meshes = nil }
	otherMesh = func(_ *corev1.Pod, o *Objects) { o.Meshes[0].UID = "m2" }
	none      = "sidecarInject enabled but no matching VirtualNode or VirtualGateway found"
)

// decisionCase is one row of the decision table.
type decisionCase struct {
	name    string
	changes []change
	outcome Outcome
	reason  string // the whole reason, or its beginning when it ends in …
	unsure  bool
	warning string // part of the only warning; empty for none
}

var decisionCases = []decisionCase{
	{
		name:    "disabled namespace",
		changes: []change{namespace("Disabled"), node("a", front), node("b", front)},
		outcome: Untouched, reason: "injection is disabled by the namespace label appmesh.k8s.aws/sidecarInjectorWebhook",
	},
	{
		name:    "the annotation beats the label",
		changes: []change{namespace("enabled"), annotated(meshv1beta2.LabelInject, "disabled"), node("a", front)},
		outcome: Untouched, reason: "injection is disabled by the annotation appmesh.k8s.aws/sidecarInjectorWebhook",
	},
	{
		name:    "enabled by annotation in a disabled namespace",
		changes: []change{namespace("disabled"), annotated(meshv1beta2.LabelInject, "ENABLED"), node("a", front)},
		outcome: Injected, reason: "injected as VirtualNode demo/a",
	},
	{
		name:    "one node",
		changes: []change{node("a", front)},
		outcome: Injected, reason: "injected as VirtualNode demo/a",
	},
	{
		name:    "an empty selector matches every pod",
		changes: []change{node("a", anything)},
		outcome: Injected, reason: "injected as VirtualNode demo/a",
	},
	{
		name:    "an absent selector matches none",
		changes: []change{node("a", nil)},
		outcome: Denied, reason: none, unsure: true,
	},
	{
		name:    "one gateway",
		changes: []change{gatewayNamed("g", front)},
		outcome: Injected, reason: "injected as VirtualGateway demo/g",
	},
	{
		name:    "several nodes",
		changes: []change{node("b", front), node("a", anything), gatewayNamed("g", front), gatewayNamed("h", front)},
		outcome: Denied, unsure: true,
		reason: "found multiple matching VirtualNodes for pod demo/p: demo/a,demo/b",
	},
	{
		name:    "several gateways",
		changes: []change{node("a", front), gatewayNamed("h", front), gatewayNamed("g", front)},
		outcome: Denied, unsure: true,
		reason: "found multiple matching VirtualGateways for pod demo/p: demo/g,demo/h",
	},
	{
		name:    "a node and a gateway",
		changes: []change{node("a", front), gatewayNamed("g", front)},
		outcome: Denied, unsure: true,
		reason: "sidecarInject enabled for both VirtualNode demo/a and VirtualGateway demo/g on pod demo/p. Please use podSelector on one",
	},
	{
		name:    "several nodes are refused also when the mode is not set",
		changes: []change{namespace(""), node("a", front), node("b", front)},
		outcome: Denied, unsure: true,
		reason: "found multiple matching VirtualNodes for pod demo/p: demo/a,demo/b",
	},
	{
		name:    "enabled and nothing matches",
		changes: []change{node("a", matching("app", "other"))},
		outcome: Denied, reason: none, unsure: true,
	},
	{
		name:    "not set and nothing matches",
		changes: []change{namespace("")},
		outcome: Untouched, unsure: true,
		reason: "no matching VirtualNode or VirtualGateway found", warning: "no VirtualNode or VirtualGateway selects pod demo/p",
	},
	{
		name:    "not set and a node matches",
		changes: []change{namespace(""), node("a", front)},
		outcome: Injected, reason: "injected as VirtualNode demo/a",
	},
	{
		name:    "another value counts as not set",
		changes: []change{annotated(meshv1beta2.LabelInject, "true"), node("a", front)},
		outcome: Injected,
		reason:  "injected as VirtualNode demo/a", warning: `has the value "true", which is neither enabled nor disabled`},
	{
		name:    "a node that no mesh has taken does not count",
		changes: []change{node("a", front), withoutMesh},
		outcome: Denied, unsure: true, reason: none + "…",
	},
	{
		name:    "the same when the mode is not set",
		changes: []change{namespace(""), node("a", front), withoutMesh},
		outcome: Untouched, unsure: true,
		reason: "no matching VirtualNode or VirtualGateway found (VirtualNode demo/a selects the pod but has no meshRef: no Mesh selects its namespace)", warning: "outside the mesh",
	},
	{
		name:    "the mesh is gone",
		changes: []change{node("a", front), noMesh},
		outcome: Denied, unsure: true, reason: "VirtualNode demo/a belongs to Mesh demo, which does not exist",
	},
	{
		name:    "the mesh was recreated",
		changes: []change{node("a", front), otherMesh},
		outcome: Denied, unsure: true, reason: "VirtualNode demo/a belongs to Mesh demo, which does not exist",
	},
	{
		name:    "an unusable selector of a node that does not matter",
		changes: []change{node("a", front), node("z", invalid)},
		outcome: Denied,
		reason:  "VirtualNode demo/z has an invalid podSelector: …",
	},
	{
		name:    "an unusable selector of a gateway",
		changes: []change{node("a", front), gatewayNamed("z", invalid)},
		outcome: Denied,
		reason:  "VirtualGateway demo/z has an invalid podSelector: …",
	},
	{
		name:    "host network",
		changes: []change{hostNetwork, node("a", front)},
		outcome: Untouched,
		reason:  "the pod uses the host network, where redirection would take the traffic of the whole node", warning: "VirtualNode demo/a selects the pod, but",
	},
	{
		name:    "host network, enabled by annotation",
		changes: []change{hostNetwork, annotated(meshv1beta2.LabelInject, "enabled"), node("a", front)},
		outcome: Denied,
		reason:  "sidecarInject enabled but the pod uses the host network, …",
	},
	{
		name:    "host network without a node is no fault",
		changes: []change{hostNetwork},
		outcome: Untouched, unsure: true,
		reason: "the pod uses the host network, where redirection would take the traffic of the whole node",
	},
	{
		name:    "a gateway may use the host network",
		changes: []change{hostNetwork, gatewayNamed("g", front)},
		outcome: Injected, reason: "injected as VirtualGateway demo/g",
	},
	{
		name:    "Windows",
		changes: []change{onWindows, node("a", front)},
		outcome: Untouched,
		reason:  "the pod runs on Windows, where there is no sidecar", warning: "outside the mesh",
	},
	{
		name:    "another mesh's proxy",
		changes: []change{withIstio, node("a", front)},
		outcome: Untouched,
		reason:  "the pod already has the proxy istio-proxy of another mesh", warning: "outside the mesh",
	},
	{
		name: "selectors that wait for Argo's hash",
		changes: []change{namespace(""), labelled(argoHashLabel, "new"), node("stable", matching("app", "front", argoHashLabel, "old")),
			node("canary", matching("app", "front", argoHashLabel, "other"))},
		outcome: Injected, unsure: true, reason: "injected as VirtualNode demo/canary, until Argo Rollouts writes the label rollouts-pod-template-hash of the pod into the podSelector of a node",
	},
	{
		name:    "a selector that waits for Argo's hash, with injection enabled",
		changes: []change{labelled(argoHashLabel, "new"), node("stable", matching("app", "front", argoHashLabel, "old"))},
		outcome: Injected, unsure: true, reason: "injected as VirtualNode demo/stable, until Argo Rollouts writes the label rollouts-pod-template-hash of the pod into the podSelector of a node",
	},
	{
		name:    "a selector of nothing but Argo's hash says too little",
		changes: []change{namespace(""), labelled(argoHashLabel, "new"), node("stable", matching(argoHashLabel, "old"))},
		outcome: Untouched, unsure: true, reason: "no matching VirtualNode or VirtualGateway found", warning: "outside the mesh",
	},
	{
		name:    "a pod without the hash does not wait for Argo",
		changes: []change{namespace(""), node("stable", matching("app", "front", argoHashLabel, "old"))},
		outcome: Untouched, unsure: true, reason: "no matching VirtualNode or VirtualGateway found; the nearest is VirtualNode demo/stable, whose podSelector asks for " +
			"label rollouts-pod-template-hash=old, which the pod has not", warning: "outside the mesh",
	},
	{
		name: "the nearest node of several is named with what is missing",
		changes: []change{namespace("enabled"), node("far", matching("app", "front", "a", "1", "b", "2")), node("near", matching("app", "front", "version", "v1")),
			node("stranger", matching("app", "other"))},
		outcome: Denied, unsure: true, reason: none + "; the nearest is VirtualNode demo/near, whose podSelector asks for label version=v1, which the pod has not",
	},
	{
		name:    "a label with another value is named with both",
		changes: []change{namespace("enabled"), labelled("version", "v2"), node("near", matching("app", "front", "version", "v1"))},
		outcome: Denied, unsure: true, reason: none + "; the nearest is VirtualNode demo/near, whose podSelector asks for label version=v1, and the pod has version=v2",
	},
	{
		name:    "a pod that asks for a node with Windows",
		changes: []change{namespace(""), onNodes(corev1.LabelOSStable, "windows"), node("a", front)},
		outcome: Untouched, reason: "the pod runs on Windows, where there is no sidecar", warning: "outside the mesh",
	},
	{
		name:    "a pod that asks for a node with Linux",
		changes: []change{namespace(""), onNodes(corev1.LabelOSStable, "linux"), node("a", front)},
		outcome: Injected, reason: "injected as VirtualNode demo/a",
	},
	{
		name:    "a pod whose affinity leaves nodes with Windows only",
		changes: []change{namespace(""), withAffinity("windows"), node("a", front)},
		outcome: Untouched, reason: "the pod runs on Windows, where there is no sidecar", warning: "outside the mesh",
	},
	{
		name:    "a pod whose affinity leaves nodes with Linux, too",
		changes: []change{namespace(""), withAffinity("windows", "linux"), node("a", front)},
		outcome: Injected, reason: "injected as VirtualNode demo/a",
	},
	{
		name:    "Argo has written the hash",
		changes: []change{namespace(""), labelled(argoHashLabel, "new"), node("stable", matching("app", "front", argoHashLabel, "new"))},
		outcome: Injected, reason: "injected as VirtualNode demo/stable",
	},
}

func onNodes(label, value string) change {
	return func(p *corev1.Pod, _ *Objects) { p.Spec.NodeSelector = map[string]string{label: value} }
}

// withAffinity asks for nodes that run one of the systems.
func withAffinity(systems ...string) change {
	return func(p *corev1.Pod, _ *Objects) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: corev1.LabelOSStable, Operator: corev1.NodeSelectorOpIn, Values: systems},
			}}},
		}}}
	}
}

func TestDecisions(t *testing.T) {
	for _, c := range decisionCases {
		t.Run(c.name, func(t *testing.T) {
			d := decide(c.changes...)
			if d.Outcome != c.outcome {
				t.Errorf("outcome %s, want %s", d.Outcome, c.outcome)
			}
			if begin, open := strings.CutSuffix(c.reason, "…"); d.Reason != c.reason && !(open && strings.HasPrefix(d.Reason, begin)) {
				t.Errorf("reason %q, want %q", d.Reason, c.reason)
			}
			if d.Unsure != c.unsure {
				t.Errorf("unsure %t, want %t", d.Unsure, c.unsure)
			}
			if all := strings.Join(d.Warnings, "\n"); c.warning == "" && all != "" || !strings.Contains(all, c.warning) || len(d.Warnings) > 1 {
				t.Errorf("warnings %q, want %q", d.Warnings, c.warning)
			}
		})
	}
}

func TestAPodWithoutANameIsNamedByItsGenerateName(t *testing.T) {
	d := decide(node("a", matching("app", "front")), node("b", matching("app", "front")), func(p *corev1.Pod, _ *Objects) {
		p.Name, p.GenerateName = "", "front-"
	})
	if want := "found multiple matching VirtualNodes for pod demo/front-: demo/a,demo/b"; d.Reason != want {
		t.Errorf("reason %q, want %q", d.Reason, want)
	}
}

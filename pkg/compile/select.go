package compile

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// selection is which nodes select which pods. It depends on nothing but these, so it counts for the next pass too when that has the same.
type selection struct {
	// given are the pods as they came, pods the same by UID; nodes are by age.
	given, pods []*input.Pod
	nodes       []*meshv1beta2.VirtualNode
	// of are the pods of each node, nodesOf the nodes of each pod, oldest first; lost counts the pods that a node lost to older ones.
	of      [][]*input.Pod
	nodesOf [][]int
	lost    []int
	// byLabels are the nodes of pods that share all their labels.
	byLabels map[string]matched
}

// matched are the nodes that select a pod: those that have it, and those that have not because of the bound.
type matched struct{ kept, surplus []int }

// selectPods fills in the pods of each node, in the order of their UIDs. A pod is an endpoint of maxSelecting listeners at most, those of
// the oldest nodes.
func (b *builder) selectPods() {
	nodes := make([]*meshv1beta2.VirtualNode, len(b.nodeOrder))
	for i, n := range b.nodeOrder {
		nodes[i] = n.object
		if s := n.object.Spec.PodSelector; s != nil {
			n.selector = b.compiler.selectors.get(s, selectorOf)
		}
	}
	last := &b.compiler.selection
	samePods, sameNodes := slices.Equal(last.given, b.in.Pods), slices.Equal(last.nodes, nodes)
	if !samePods || !sameNodes {
		next := selection{given: slices.Clone(b.in.Pods), pods: last.pods, nodes: nodes}
		if !samePods {
			next.pods = slices.Clone(b.in.Pods)
			slices.SortFunc(next.pods, func(x, y *input.Pod) int { return cmp.Compare(x.UID, y.UID) })
		}
		known := last.byLabels
		if !sameNodes {
			known = nil
		}
		next.match(b, known)
		*last = next
	}
	for i, n := range b.nodeOrder {
		n.pods = last.of[i]
		if lost := last.lost[i]; lost > 0 {
			b.tooLarge(mesh.Problem{Object: n.self, Partial: true, Path: "spec.podSelector"},
				"%d pods are left out: older nodes with %d listeners, which is the most, select them already; narrow the selectors", lost, maxSelecting)
		}
	}
}

// match finds the nodes of each pod. Pods that share all their labels are matched once; known are those matched before.
func (s *selection) match(b *builder, known map[string]matched) {
	var index selectorIndex
	for i, n := range b.nodeOrder {
		if n.selector != nil {
			index.add(i, n.self.Namespace, n.object.Spec.PodSelector, n.selector)
		}
	}
	s.of, s.lost = make([][]*input.Pod, len(s.nodes)), make([]int, len(s.nodes))
	s.nodesOf = make([][]int, len(s.pods))
	s.byLabels = make(map[string]matched, len(s.nodes))
	for i, p := range s.pods {
		key := b.compiler.labels.get(p, labelKey)
		m, ok := s.byLabels[key]
		if !ok {
			if m, ok = known[key]; !ok {
				m = cutSelecting(index.match(p), s.nodes)
			}
			s.byLabels[key] = m
		}
		s.nodesOf[i] = m.kept
		for _, n := range m.kept {
			s.of[n] = append(s.of[n], p)
		}
		for _, n := range m.surplus {
			s.lost[n]++
		}
	}
	b.compiler.labels.turn()
}

// cutSelecting cuts nodes, the oldest first, where their listeners are more than a pod may serve.
func cutSelecting(list []int, nodes []*meshv1beta2.VirtualNode) matched {
	total := 0
	for i, n := range list {
		if total += max(1, len(nodes[n].Spec.Listeners)); total > maxSelecting {
			return matched{list[:i], list[i:]}
		}
	}
	return matched{kept: list}
}

// selectorIndex finds the selectors that select a pod. One with equality terms is only tried where one of them holds.
type selectorIndex struct {
	byPair  map[string][]ranked // namespace, key and value of one equality term
	general map[string][]ranked // the others by namespace
}

// ranked is a selector with its owner's place in the order of age.
type ranked struct {
	rank     int
	selector labels.Selector
}

// add adds the selector s of a namespace's object, which is compiled already.
func (x *selectorIndex) add(rank int, namespace string, s *metav1.LabelSelector, compiled labels.Selector) {
	if x.byPair == nil {
		x.byPair, x.general = map[string][]ranked{}, map[string][]ranked{}
	}
	into, key := x.general, namespace
	if k, v, ok := firstTerm(s.MatchLabels); ok {
		into, key = x.byPair, pairKey(namespace, k, v)
	}
	into[key] = append(into[key], ranked{rank, compiled})
}

// match returns the ranks of those that select a pod, in order.
func (x *selectorIndex) match(p *input.Pod) []int {
	var out []int
	set := labels.Set(p.Labels)
	try := func(list []ranked) {
		for _, r := range list {
			if r.selector.Matches(set) {
				out = append(out, r.rank)
			}
		}
	}
	if len(x.byPair) > 0 {
		for k, v := range p.Labels {
			try(x.byPair[pairKey(p.Namespace, k, v)])
		}
	}
	try(x.general[p.Namespace])
	slices.Sort(out)
	return out
}

func pairKey(ns, k, v string) string { return ns + "\x00" + k + "\x00" + v }

func firstTerm(m map[string]string) (k, v string, ok bool) {
	for key := range m {
		if !ok || key < k {
			k, v, ok = key, m[key], true
		}
	}
	return k, v, ok
}

// labelKey is equal for pods of one namespace that have the same labels.
func labelKey(p *input.Pod) string {
	keys := make([]string, 0, len(p.Labels))
	for k := range p.Labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var sb strings.Builder
	sb.WriteString(p.Namespace)
	for _, k := range keys {
		sb.WriteByte(0)
		sb.WriteString(k)
		sb.WriteByte(0)
		sb.WriteString(p.Labels[k])
	}
	return sb.String()
}

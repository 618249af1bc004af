package source

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/membership"
)

// graceTime is how long an endpoint outlives the edit that took it from its node. Argo Rollouts first moves the selectors of both
// nodes and then the weights; until then the node that traffic still goes to would be empty.
const graceTime = 10 * time.Second

// grace holds the pods that a node lost by an edit of its selector or of their labels alone. It follows edits as they arrive;
// compile decides whether such a pod is needed, and what else keeps it from serving.
type grace struct {
	mu   sync.Mutex
	pods map[types.NamespacedName]map[string]*time.Timer
	// changed is called when a time is over.
	changed func()
}

// selectorEdited notes the ready pods that the old form of a node selected and the new one does not.
func (g *grace) selectorEdited(old, now *meshv1beta2.VirtualNode, pods []podRow) {
	for _, p := range pods {
		if p.Namespace == now.Namespace && serving(p.Pod) && membership.Selects(old.Spec.PodSelector, p.Labels) &&
			!membership.Selects(now.Spec.PodSelector, p.Labels) {
			g.keep(types.NamespacedName{Namespace: now.Namespace, Name: now.Name}, p.UID)
		}
	}
}

// labelsEdited notes the nodes that selected the old form of a pod and do not select the new one.
func (g *grace) labelsEdited(old, now *input.Pod, nodes []*meshv1beta2.VirtualNode) {
	if !serving(old) || !serving(now) {
		return
	}
	for _, n := range nodes {
		if n.Namespace == now.Namespace && membership.Selects(n.Spec.PodSelector, old.Labels) && !membership.Selects(n.Spec.PodSelector, now.Labels) {
			g.keep(types.NamespacedName{Namespace: n.Namespace, Name: n.Name}, now.UID)
		}
	}
}

func serving(p *input.Pod) bool { return p.Ready && !p.Terminating }

// keep starts, or starts again, the time of a pod as an endpoint of a node.
func (g *grace) keep(node types.NamespacedName, uid string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pods == nil {
		g.pods = map[types.NamespacedName]map[string]*time.Timer{}
	}
	if g.pods[node] == nil {
		g.pods[node] = map[string]*time.Timer{}
	}
	if had := g.pods[node][uid]; had != nil {
		had.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(graceTime, func() {
		g.mu.Lock()
		over := g.pods[node][uid] == timer
		if over {
			g.drop(node, uid)
		}
		g.mu.Unlock()
		if over {
			g.changed()
		}
	})
	g.pods[node][uid] = timer
}

func (g *grace) drop(node types.NamespacedName, uid string) {
	delete(g.pods[node], uid)
	if len(g.pods[node]) == 0 {
		delete(g.pods, node)
	}
}

// list returns what is held now.
func (g *grace) list() map[types.NamespacedName][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pods) == 0 {
		return nil
	}
	out := make(map[types.NamespacedName][]string, len(g.pods))
	for node, pods := range g.pods {
		for uid := range pods {
			out[node] = append(out[node], uid)
		}
	}
	return out
}

package compile

import (
	"github.com/aftermesh/aftermesh/pkg/input"
)

// lingering adds to each node the pods that only an edit of its selector or of their labels took from it, while it has no other
// endpoint. They serve as endpoints and nothing else, and only as long as they could without the edit.
//
// Whether a route still gives the node weight is not looked at: a node without weight gets no traffic in any case, and taking
// its endpoints away in the pass that moves the weight would overtake the route on its way to the proxies.
func (b *builder) lingering() {
	if len(b.in.Grace) == 0 {
		return
	}
	byUID := make(map[string]*input.Pod, len(b.in.Pods))
	for _, p := range b.in.Pods {
		byUID[p.UID] = p
	}
	for _, n := range b.nodeOrder {
		uids := b.in.Grace[keyOf(n.object)]
		if len(uids) == 0 || hasEndpoint(n.pods) {
			continue
		}
		for _, uid := range uids {
			if p := byUID[uid]; p != nil && p.Ready && !p.Terminating {
				n.lingering = append(n.lingering, p)
			}
		}
	}
}

func hasEndpoint(pods []*input.Pod) bool {
	for _, p := range pods {
		if p.Ready && !p.Terminating {
			return true
		}
	}
	return false
}

// endpointPods are the pods that serve as the node's endpoints.
func (n *node) endpointPods() []*input.Pod {
	if len(n.lingering) == 0 {
		return n.pods
	}
	return append(n.pods[:len(n.pods):len(n.pods)], n.lingering...)
}

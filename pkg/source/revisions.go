package source

import (
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

// AcceptedSelector selects the ControllerRevisions that hold accepted specifications. The cache given to NewCluster should be
// limited to these: a cluster has thousands of others.
func AcceptedSelector() labels.Selector {
	r, err := labels.NewRequirement(lifetime.LabelAccepted, selection.Exists, nil)
	if err != nil {
		return labels.Nothing() // the key is a constant and well formed
	}
	return labels.NewSelector().Add(*r)
}

// Revisions returns the stored accepted specifications, in no particular order.
func (s *Cluster) Revisions() []lifetime.Stored { return s.revisions.all() }

// Revised is true when a generation of an object is stored as its accepted specification.
func (s *Cluster) Revised(uid types.UID, generation int64) bool {
	for _, r := range s.revisions.all() {
		if r.Accepted != nil && r.Accepted.GetUID() == uid && r.Accepted.GetGeneration() == generation {
			return true
		}
	}
	return false
}

// accepted returns the objects in the revisions.
func (s *Cluster) accepted() []meshv1beta2.Object {
	var out []meshv1beta2.Object
	for _, r := range s.revisions.all() {
		if r.Accepted != nil {
			out = append(out, r.Accepted)
		}
	}
	return out
}

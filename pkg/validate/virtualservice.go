package validate

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func (j *judge) virtualService(spec *field.Path, s *meshv1beta2.VirtualServiceSpec) {
	p, provider := s.Provider, spec.Child("provider")
	if p == nil {
		return
	}
	if p.VirtualNode != nil && p.VirtualRouter != nil {
		j.add("U10", provider, p.DeepCopy(), "the provider has virtualNode and virtualRouter, only one is allowed; keep one of them")
	}
	if n := p.VirtualNode; n != nil {
		j.reference(provider.Child("virtualNode"), meshv1beta2.ARNVirtualNode, "U11", "X4", n.VirtualNodeRef, n.VirtualNodeARN)
	}
	if r := p.VirtualRouter; r != nil {
		j.reference(provider.Child("virtualRouter"), meshv1beta2.ARNVirtualRouter, "U12", "X4", r.VirtualRouterRef, r.VirtualRouterARN)
	}
}

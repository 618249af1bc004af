package source

import (
	"bytes"

	corev1 "k8s.io/api/core/v1"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	"github.com/aftermesh/aftermesh/pkg/ca"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

// SlimSecret keeps of a Secret of the operator's namespace what proxies may be given or trust: never the key of an authority.
func SlimSecret(obj any) (any, error) {
	s, ok := obj.(*corev1.Secret)
	if !ok {
		return obj, nil
	}
	out := &corev1.Secret{Data: map[string][]byte{}}
	out.Name, out.Namespace, out.UID, out.ResourceVersion, out.Labels = s.Name, s.Namespace, s.UID, s.ResourceVersion, s.Labels
	if v, ok := s.Annotations[ca.Annotation]; ok {
		out.Annotations = map[string]string{ca.Annotation: v}
	}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey, "ca.crt", "previous.crt"} {
		if v, ok := s.Data[key]; ok {
			out.Data[key] = v
		}
	}
	return out, nil
}

// certificates puts together what is known of certificates. A name that is mapped to a Secret which is not there maps to nothing.
func (s *Cluster) certificates() input.Certificates {
	out := input.Certificates{Leaves: map[mesh.Object]input.KeyPair{}, Mapped: map[input.Mapping][]input.MappedSecret{}}
	byName := map[string]input.KeyPair{}
	for _, x := range s.secrets.all() {
		k := input.KeyPair{Chain: x.Data[corev1.TLSCertKey], Key: x.Data[corev1.TLSPrivateKeyKey], Trust: x.Data["ca.crt"]}
		if x.Name == ca.SecretName {
			out.Root = bytes.Join([][]byte{x.Data["ca.crt"], x.Data["previous.crt"]}, nil)
			continue
		}
		if _, leaf := x.Labels[ca.Label]; !leaf {
			byName[x.Name] = k
		} else if o, ok := ca.OwnerOf(x.Name, x.Annotations[ca.Annotation]); ok {
			out.Leaves[o] = k
		}
	}
	for _, m := range s.Settings() {
		for _, c := range m.Spec.Certificates {
			for _, name := range []*string{c.ARN, c.SDSName} {
				if name != nil {
					key := input.Mapping{Mesh: m.Name, Name: *name}
					out.Mapped[key] = append(out.Mapped[key], input.MappedSecret{Secret: c.SecretName, Namespaces: c.Namespaces, KeyPair: byName[c.SecretName]})
				}
			}
		}
	}
	return out
}

// Leaves are the certificates of workloads that are stored.
func (s *Cluster) Leaves() map[mesh.Object]input.KeyPair { return s.certificates().Leaves }

// Settings are all MeshSettings. They must not be modified.
func (s *Cluster) Settings() []*meshv1alpha1.MeshSettings {
	return input.Of[*meshv1alpha1.MeshSettings](s.configured())
}

// LeafSecrets are the names of all Secrets that are marked as certificates of workloads, also of those that belong to nobody.
func (s *Cluster) LeafSecrets() []string {
	var out []string
	for _, x := range s.secrets.all() {
		if _, leaf := x.Labels[ca.Label]; leaf {
			out = append(out, x.Name)
		}
	}
	return out
}

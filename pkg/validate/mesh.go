package validate

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

func (j *judge) mesh(spec *field.Path, s *meshv1beta2.MeshSpec) {
	j.selector(spec.Child("namespaceSelector"), s.NamespaceSelector)
	if s.MeshOwner != nil && *s.MeshOwner != "" {
		j.add("A1", spec.Child("meshOwner"), *s.MeshOwner, "meshOwner %q has no effect: every mesh belongs to this cluster; remove the field", *s.MeshOwner)
	}
	d := s.MeshServiceDiscovery
	if d == nil || d.IPPreference == nil {
		return
	}
	switch *d.IPPreference {
	case meshv1beta2.IPPreferenceIPv4Only, meshv1beta2.IPPreferenceIPv6Only,
		meshv1beta2.IPPreferenceIPv4Preferred, meshv1beta2.IPPreferenceIPv6Preferred:
	default:
		j.add("M2", spec.Child("meshServiceDiscovery", "ipPreference"), *d.IPPreference,
			"Only non-empty values allowed are IPv4_ONLY, IPv6_ONLY, IPv4_PREFERRED or IPv6_PREFERRED, not %q; use one of them or remove the field", *d.IPPreference)
	}
}

// selector judges a label selector; an absent one is fine.
func (j *judge) selector(path *field.Path, s *metav1.LabelSelector) {
	if s == nil {
		return
	}
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		j.add("X2", path, s.String(), "malformed label selector: %v; use valid label keys and values, the operators In and NotIn with values, Exists and DoesNotExist without",
			err)
	}
}

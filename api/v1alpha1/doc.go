// Package v1alpha1 holds the kinds of the API group aftermesh.dev: what Aftermesh adds to App Mesh. MeshSettings are the settings
// of one mesh that App Mesh took from elsewhere in AWS.
//
// The types are the source of the CRDs in config/crd and of the deep copies in zz_generated.deepcopy.go. Rules are part of the
// schemas, as CEL; no webhook is needed.
//
// +kubebuilder:object:generate=true
// +groupName=aftermesh.dev
package v1alpha1

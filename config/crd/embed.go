// Package crd holds the generated CustomResourceDefinitions, so that the binary can judge manifests by the schemas that it is
// installed with. They are bytes; package schema reads them.
package crd

import "embed"

// Bases are the files of the folder bases, one CustomResourceDefinition each.
//
//go:embed bases/*.yaml
var Bases embed.FS

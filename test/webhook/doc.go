// Package webhook takes manifests through a real API server with our CRDs and webhook configurations, as they are installed,
// and with our webhooks answering from a real informer cache: mutation, schema, validation and storage together.
//
// TestCorpus does so with published manifests, every App Mesh object of every case, if the environment variable CORPUS names
// their folder. The package has tests only; they need the binaries that `devcluster install` makes.
package webhook

// Package controllers is the border with Kubernetes: it wires informers to the pipeline, serves xDS and webhooks, keeps the
// operator's own certificates, and writes statuses. It has no domain rules; those are in compile, translate, status and inject.
//
// What runs where:
//
//	every replica   informers → pipeline.Step → xDS; webhooks; admin API; the table of its own streams for its peers
//	the leader      statuses and events; the CA bundle in the webhook configurations; renewal of authorities
//
// Start with operator.go.
package controllers

// Package injection holds pods that prove the injection of proxies: for every annotation and label that the webhook reads or writes, for
// every flag of the operator that shapes pods, and for every part of a pod that it heeds, what goes in and what comes out.
//
// A Case is created as a dry run by an API server whose webhook is ours, so that its admission, defaults and validation have their say;
// what comes back is compared by names of facts, see facts.go. Package test/webhook tries the cases with the webhook in its own process,
// the command in cmd/injection through the operator of the one-node cluster. Both use Cluster.Try, so they ask for the same.
//
// What webhooks keep from being stored has no case here: a node or gateway without a mesh or with an unusable podSelector. Package inject
// has them in its own tests.
//
// Start reading at Case, then at the tables in cases_….go. Whatever the lists in keys.go name must have a case.
package injection

// Package ca is the authority of the mesh: it replaces AWS Certificate Manager and signs the certificates of workloads.
//
// The root with its key is one Secret of the operator's namespace, made by the first replica that starts and renewed by the leader
// after two thirds of its life; the root before stays trusted. Leaves live for a day and are recreated at a random time between
// 50 and 70 % of it, each in a Secret of its own, from which every replica delivers it to the proxies that own it, so that all
// replicas serve the same bytes. The package decides and signs; package controllers reads and writes the Secrets.
//
// Start with Plan. Time comes from the caller. Keys appear in no message and no log.
package ca

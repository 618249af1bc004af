// Package membership decides what belongs together: which Mesh an object joins, by the labels of its namespace, and which
// VirtualGateway a GatewayRoute is attached to. The webhook asks when an object is created; compile asks for objects that
// were stored without a webhook and for files.
//
// Everything here is a pure function of the objects given; whoever denies something on the strength of a Problem should
// first look again with fresh objects, because caches lag.
//
// A malformed selector matches nothing here; package validate reports it on its owner. The package imports api and
// apimachinery only. Start reading at membership.go.
package membership

// Package lifetime runs the whole operator against a real API server, with its webhooks, and follows objects from their
// creation to their end: finalizers in any order of deletion, objects left behind by App Mesh's controller, fields that no webhook
// wrote, a bad update that an operator restarted must not serve, and that an operator with nothing to do writes nothing.
//
// There is no node: proxies are xDS streams of the tests' own.
package lifetime

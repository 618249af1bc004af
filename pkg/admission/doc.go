// Package admission answers the API server's webhooks for the kinds of appmesh.k8s.aws.
//
// The mutating side fills in what the system decides: the mesh an object joins, the gateway a GatewayRoute is attached to, the
// name in the mesh, and a mesh's address family. Its answer is a JSON patch of just these fields, plus the removal of empty
// lists that the schema would refuse; it never re-encodes an object, so fields that this version does not know survive,
// and an object that needs nothing gets no patch at all. On updates it restores system fields that the client left out.
//
// The validating side is package validate. Findings of class reject deny the request; the others become warnings.
//
// Membership is decided by package membership over a cache. Because caches lag behind, nothing is denied because something is
// missing, or there twice, before the API server itself has been asked.
//
// Deletions and changes of metadata alone are not even sent by the webhook configuration: finalizers can be removed while no
// operator runs. Changes of a specification are judged although the object is being deleted, because it may be served until then.
//
// The pod webhook is not here; see package inject. Start reading at register.go.
package admission

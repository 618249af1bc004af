package ca

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

const (
	// SecretName of the root in the operator's namespace.
	SecretName = "aftermesh-mesh-ca"
	// Life of the root. It is renewed after two thirds.
	Life = 3 * 365 * 24 * time.Hour
	// LeafLife of the certificates of workloads.
	LeafLife = 24 * time.Hour
	// settle is how long, counted from its validity, which begins five minutes before its making, a new root signs nothing but
	// what is missing, so that every proxy trusts it by then.
	settle = 10 * time.Minute
)

// Label marks the Secrets of leaves; Annotation of such a Secret names the node or gateway whose proxies it is for.
const (
	Label      = "aftermesh.dev/certificate"
	Annotation = "aftermesh.dev/owner"
)

// LeafName returns the name of the Secret with the certificate of a node's or gateway's proxies. Two objects never have the same.
func LeafName(o mesh.Object) string {
	sum := sha256.Sum256([]byte(Owner(o)))
	return "aftermesh-leaf-" + hex.EncodeToString(sum[:])
}

// Owner writes an object as Annotation does: <kind>/<namespace>/<name>, none of which contains a slash.
func Owner(o mesh.Object) string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

// OwnerOf returns the object that a Secret with the given name and annotation belongs to. It is false unless the name is that of the
// object's Secret, so that a Secret which was written for another one is never used.
func OwnerOf(name, annotation string) (mesh.Object, bool) {
	parts := strings.Split(annotation, "/")
	if len(parts) != 3 {
		return mesh.Object{}, false
	}
	o := input.AppMesh(parts[0], parts[1], parts[2])
	return o, LeafName(o) == name
}

// Plan returns the requests whose certificate must be made now: it is missing or unusable, it is not valid for the names that are
// wanted, its time has come, or it is of a root that is not in use any more.
func Plan(a *identity.Authority, requests []input.CertificateRequest, leaves map[mesh.Object]input.KeyPair, now time.Time) []input.CertificateRequest {
	var out []input.CertificateRequest
	young := now.Before(a.Certificate.NotBefore.Add(settle)) && a.Previous != nil
	for _, r := range requests {
		leaf := parse(leaves[r.Object].Chain)
		switch {
		case leaf == nil, now.After(leaf.NotAfter), !slices.Equal(leaf.DNSNames, r.DNS):
			out = append(out, r)
		case young: // the old root is still trusted everywhere
		case now.After(renewal(leaf, r.Object)), leaf.CheckSignatureFrom(a.Certificate) != nil:
			out = append(out, r)
		}
	}
	return out
}

// renewal is between 50 and 70 % of a leaf's life, another time for each owner.
func renewal(leaf *x509.Certificate, o mesh.Object) time.Time {
	h := fnv.New32a()
	_, _ = h.Write([]byte(Owner(o))) // never fails
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotBefore.Add(life/2 + life*time.Duration(h.Sum32()%200)/1000)
}

func parse(chain []byte) *x509.Certificate {
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}

// Issue signs a certificate for the names of a request. It is valid for servers only: nobody can show it as a caller.
func Issue(a *identity.Authority, r input.CertificateRequest, now time.Time) (input.KeyPair, error) {
	chain, key, err := a.ServerLeaf(identity.Names{DNS: r.DNS}, now, LeafLife)
	return input.KeyPair{Chain: chain, Key: key}, err
}

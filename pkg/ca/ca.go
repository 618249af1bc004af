package ca

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"hash/fnv"
	"slices"
	"time"

	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/identity"
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

// Label marks the Secrets of leaves; Annotation of such a Secret holds the node id of the workload.
const (
	Label      = "aftermesh.dev/certificate"
	Annotation = "aftermesh.dev/workload"
)

// LeafName returns the name of the Secret with a workload's certificate.
func LeafName(id mesh.WorkloadID) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(id.String())) // never fails
	return "aftermesh-leaf-" + hex.EncodeToString(h.Sum(nil))
}

// Plan returns the requests whose certificate must be made now: it is missing or unusable, it is not good for the names that are
// wanted, its time has come, or it is of a root that is not in use any more.
func Plan(a *identity.Authority, requests []compile.CertificateRequest, leaves map[mesh.WorkloadID]compile.KeyPair, now time.Time) []compile.CertificateRequest {
	var out []compile.CertificateRequest
	young := now.Before(a.Certificate.NotBefore.Add(settle)) && a.Previous != nil
	for _, r := range requests {
		leaf := parse(leaves[r.Workload].Chain)
		switch {
		case leaf == nil, now.After(leaf.NotAfter), !slices.Equal(leaf.DNSNames, r.DNS):
			out = append(out, r)
		case young: // the old root is still trusted everywhere
		case now.After(renewal(leaf, r.Workload)), leaf.CheckSignatureFrom(a.Certificate) != nil:
			out = append(out, r)
		}
	}
	return out
}

// renewal is between 50 and 70 % of a leaf's life, another time for each workload.
func renewal(leaf *x509.Certificate, id mesh.WorkloadID) time.Time {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.String())) // never fails
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

// Issue signs a certificate for the names of a request.
func Issue(a *identity.Authority, r compile.CertificateRequest, now time.Time) (compile.KeyPair, error) {
	chain, key, err := a.Leaf(identity.Names{DNS: r.DNS}, now, LeafLife)
	return compile.KeyPair{Chain: chain, Key: key}, err
}

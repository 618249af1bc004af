package mesh

// ServerTLS is how a listener encrypts.
type ServerTLS struct {
	// Permissive takes clear text too.
	Permissive  bool
	Certificate Material
	// Clients is set when clients must show a certificate.
	Clients *Trust
}

// ClientTLS is how callers encrypt towards a destination.
type ClientTLS struct {
	// ServerName is sent to the server; empty for an address.
	ServerName string
	// Server says which certificates are good; nil takes any.
	Server *Trust
	// Certificate is shown when the server asks for one; nil for none.
	Certificate *Material
}

// Trust says which certificates of the other side are good: those that Source vouches for, with one of Names if there are any.
type Trust struct {
	Source Material
	Names  []string
}

// Material is where a proxy gets a certificate with its key, or the certificates it trusts. One of Chain, SDS and Secret is set.
type Material struct {
	// Chain and Key are files in the proxy's container; trust has no key.
	Chain, Key string
	// SDS is a name that the pod's own provider knows; where the pod has none, Secret holds what replaces it, if anything.
	SDS string
	// Secret is delivered by the control plane.
	Secret *Secret
}

// Secret is material that the control plane delivers itself, and only to proxies that own it. Without content the name is known and
// nothing else: what needs it fails closed.
type Secret struct {
	Name string
	// Chain holds certificates, or the trusted ones; Key is empty for trust. Both are PEM.
	Chain, Key []byte `hash:"-"`
	// Version is a hash of the content.
	Version Hash `hash:"-"`
}

// NewSecret returns a secret with its version; without a chain it has no content.
func NewSecret(name string, chain, key []byte) *Secret {
	s := &Secret{Name: name}
	if len(chain) > 0 {
		s.Chain, s.Key, s.Version = chain, key, Combine(string(chain), string(key))
	}
	return s
}

package compile_test

import (
	"slices"
	"strings"
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

const bankARN = "arn:aws:acm:r:1:certificate/bank"

func leaf(of string) input.KeyPair {
	return input.KeyPair{Chain: []byte(of), Key: []byte(of + " key"), Trust: []byte(of + " trust")}
}

// encrypting adds a node that listens with a certificate of AWS.
func encrypting(o *input.Objects, namespace, name, arn, more string) mesh.Object {
	add[meshv1beta2.VirtualNode](o, 1, namespace, name, `podSelector: {}, serviceDiscovery: {dns: {hostname: `+name+"."+namespace+`.svc.cluster.local}},
		listeners: [{portMapping: {port: 80, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "`+arn+`"}}}}]`+more)
	return input.AppMesh("VirtualNode", namespace, name)
}

func workload(t *testing.T, r *input.Result, o mesh.Object) *mesh.Workload {
	t.Helper()
	i := slices.IndexFunc(r.Model.Workloads, func(w *mesh.Workload) bool { return w.Object == o })
	if i < 0 {
		t.Fatalf("%s is not served", o)
	}
	return r.Model.Workloads[i]
}

func TestAMappedSecretServesOnlyTheNamespacesOfItsEntry(t *testing.T) {
	for _, c := range []struct {
		what       string
		namespaces []string
		bank, evil bool
	}{
		{"an entry for bank", []string{"bank"}, true, false},
		{"an entry for all", []string{"*"}, true, true},
		{"an entry for nobody", nil, false, false},
		{"an entry for names that only look like bank", []string{"Bank", "ban*", "bank.evil", ""}, false, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := world()
			o.Certificates = input.Certificates{Root: []byte("root"), Mapped: map[input.Mapping][]input.MappedSecret{
				{Mesh: "m", Name: bankARN}: {{Secret: "www", Namespaces: c.namespaces, KeyPair: leaf("www")}},
			}}
			for namespace, served := range map[string]bool{"bank": c.bank, "evil": c.evil} {
				id := encrypting(o, namespace, "n-"+namespace, bankARN, "")
				r := compiled(o)
				s := workload(t, r, id).Inbound[0].TLS.Certificate.Secret
				if got := string(s.Key) == "www key"; got != served {
					t.Errorf("%s has the key: %v, want %v", namespace, got, served)
				}
				if told := slices.Contains(reasons(r, "VirtualNode", namespace, id.Name), meshv1beta2.ReasonTLSMaterialUnavailable); told == served {
					t.Errorf("%s is told that there is none: %v", namespace, told)
				}
				if !served && s.Key != nil {
					t.Errorf("%s has a key although nothing replaces a withheld Secret", namespace)
				}
			}
		})
	}
}

func TestOfSeveralEntriesForANameEachNamespaceHasItsOwn(t *testing.T) {
	o := world()
	o.Certificates.Mapped = map[input.Mapping][]input.MappedSecret{{Mesh: "m", Name: bankARN}: {
		{Secret: "a", Namespaces: []string{"bank"}, KeyPair: leaf("a")}, {Secret: "b", Namespaces: []string{"*"}, KeyPair: leaf("b")},
	}}
	bank, evil := encrypting(o, "bank", "n", bankARN, ""), encrypting(o, "evil", "n", bankARN, "")
	r := compiled(o)
	x, y := workload(t, r, bank).Inbound[0].TLS.Certificate.Secret, workload(t, r, evil).Inbound[0].TLS.Certificate.Secret
	if string(x.Key) != "a key" || string(y.Key) != "b key" || x.Name == y.Name {
		t.Errorf("bank has %s with %q, evil has %s with %q", x.Name, x.Key, y.Name, y.Key)
	}
}

// TestACallersTrustFollowsFromItsOwnPolicyAlone lets the node that is called choose its ARN: no choice changes what a caller with a policy
// trusts, and no two contents have one name.
func TestACallersTrustFollowsFromItsOwnPolicyAlone(t *testing.T) {
	const caller = `backends: [{virtualService: {virtualServiceRef: {name: pay}}}, {virtualService: {virtualServiceRef: {name: s, namespace: evil}}}],
		backendDefaults: {clientPolicy: {tls: {ports: [80], validation: {trust: {acm: {certificateAuthorityARNs: ["arn:a", "arn:b"]}}}}}}`
	for _, arn := range []string{"arn:zz", "arn:a", "arn:b", "arn:a,arn:b", "arn:b,arn:a", "secret/one,secret/two", "trust:secret/one,secret/two", "sds-trust:x", "authority", "none"} {
		o := world()
		o.Certificates = input.Certificates{Root: []byte("root"), Mapped: map[input.Mapping][]input.MappedSecret{
			{Mesh: "m", Name: "arn:a"}: {{Secret: "one", Namespaces: []string{"bank"}, KeyPair: leaf("one")}},
			{Mesh: "m", Name: "arn:b"}: {{Secret: "two", Namespaces: []string{"bank"}, KeyPair: leaf("two")}},
		}}
		o.Certificates.Leaves = map[mesh.Object]input.KeyPair{
			{Kind: "VirtualNode", Namespace: "bank", Name: "pay"}: leaf("pay"), {Kind: "VirtualNode", Namespace: "evil", Name: "n"}: leaf("n"),
		}
		encrypting(o, "bank", "pay", "arn:c", "")
		// One port of evil's is covered by the caller's policy, the other is not.
		add[meshv1beta2.VirtualNode](o, 1, "evil", "n", `podSelector: {}, serviceDiscovery: {dns: {hostname: n.evil.svc.cluster.local}}, listeners: [
			{portMapping: {port: 80, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "`+arn+`"}}}},
			{portMapping: {port: 81, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "`+arn+`"}}}}]`)
		for namespace, node := range map[string]string{"bank": "pay", "evil": "n"} {
			add[meshv1beta2.VirtualService](o, 1, namespace, map[string]string{"bank": "pay", "evil": "s"}[namespace], `provider: {virtualNode: {virtualNodeRef: {name: `+node+`}}}`)
		}
		id := input.AppMesh("VirtualNode", "bank", "caller")
		add[meshv1beta2.VirtualNode](o, 1, "bank", "caller", caller)
		content := map[string]string{}
		for _, be := range workload(t, compiled(o), id).Backends {
			for _, p := range be.Service.Ports {
				d := p.Routes[0].Targets[0].Destination
				if d.TLS == nil || d.TLS.Server == nil {
					continue
				}
				s := d.TLS.Server.Source.Secret
				if p.Port == 80 && string(s.Chain) != "one trusttwo trust" {
					t.Errorf("with ARN %q the caller trusts %q at %s", arn, s.Chain, d.Cluster)
				}
				if had, ok := content[s.Name]; ok && had != string(s.Chain) {
					t.Errorf("with ARN %q the secret %s is both %q and %q", arn, s.Name, had, s.Chain)
				}
				content[s.Name] = string(s.Chain)
			}
		}
		if len(content) == 0 {
			t.Fatal("nothing is trusted at all: the test proves nothing")
		}
	}
}

// TestCertificatesAreGoodForNamesOfTheirNamespaceOnly asks for every spelling of another's name.
func TestCertificatesAreGoodForNamesOfTheirNamespaceOnly(t *testing.T) {
	refused := []string{
		"payments.bank.svc.cluster.local", "payments.bank.svc", "payments.bank", "*.bank.svc.cluster.local", "*.bank", "PAYMENTS.Bank.svc.cluster.local",
		"payments.bank.vn.cluster.local", "payments.bank.vg.cluster.local", "other.evil.vn.cluster.local", "*.evil.vn.cluster.local", "*.vn.cluster.local",
		"*.cluster.local", "*.svc.cluster.local", "svc.cluster.local", "cluster.local", "a.b.payments.bank.svc.cluster.local", "payments.bank.svc.cluster.local.",
		"*.svc", "x.bank.pod.cluster.local", "payments.later.svc.cluster.local",
	}
	allowed := []string{"n.evil.svc.cluster.local", "db.evil.svc.cluster.local", "*.evil.svc.cluster.local", "www.evil.example", "evil.example", "db.evil"}
	for _, host := range append(slices.Clone(refused), allowed...) {
		o := world()
		id := encrypting(o, "evil", "n", "arn:c", "")
		input.Of[*meshv1beta2.VirtualNode](o)[0].Spec.ServiceDiscovery.DNS.Hostname = host
		r := compiled(o)
		names := r.Certificates[0].DNS
		want := slices.Contains(allowed, host)
		if got := slices.Contains(names, strings.TrimSuffix(strings.ToLower(host), ".")); got != want {
			t.Errorf("a node of evil gets %v for host %q", names, host)
		}
		if !slices.Contains(names, "n.evil.vn.cluster.local") {
			t.Errorf("with host %q its own name is missing: %v", host, names)
		}
		if told := len(reasons(r, "VirtualNode", "evil", id.Name)) > 1; slices.Contains(refused, host) && !told {
			t.Errorf("nobody is told that the certificate is not good for %q", host)
		}
	}
	// A gateway takes routes of other namespaces: their hosts obey the same rule.
	for _, host := range append(slices.Clone(refused), allowed...) {
		if strings.Contains(host, "*") {
			continue
		}
		o := world()
		add[meshv1beta2.VirtualGateway](o, 1, "evil", "gw", `namespaceSelector: {}, listeners: [{portMapping: {port: 443, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "arn:c"}}}}]`)
		add[meshv1beta2.GatewayRoute](o, 1, "evil", "r", `httpRoute: {match: {prefix: /, hostname: {exact: "`+host+`"}}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}`)
		names := compiled(o).Certificates[0].DNS
		if got, want := slices.Contains(names, strings.TrimSuffix(strings.ToLower(host), ".")), slices.Contains(allowed, host); got != want {
			t.Errorf("a gateway of evil gets %v for host %q", names, host)
		}
	}
}

// TestANameThatNoCertificateHoldsCostsItsOwnPlaceOnly has a host that cannot be signed, and more hosts than a certificate holds.
func TestANameThatNoCertificateHoldsCostsItsOwnPlaceOnly(t *testing.T) {
	o := world()
	encrypting(o, "bank", "pay", "arn:c", "")
	add[meshv1beta2.VirtualService](o, 1, "evil", "s", `awsName: "payé.example", provider: {virtualNode: {virtualNodeRef: {name: n}}}`)
	encrypting(o, "evil", "n", "arn:c", "")
	r := compiled(o)
	if len(r.Certificates) != 2 {
		t.Fatalf("the requests are %v", r.Certificates)
	}
	for _, c := range r.Certificates {
		for _, name := range c.DNS {
			if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x7f }) {
				t.Errorf("%s asks for %q", c.Object, name)
			}
		}
	}
	add[meshv1beta2.VirtualGateway](o, 1, "bank", "gw", `namespaceSelector: {}, listeners: [{portMapping: {port: 443, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "arn:c"}}}}]`)
	for i := range 500 {
		add[meshv1beta2.GatewayRoute](o, 1, "evil", "r"+string(rune('a'+i%26))+strings.Repeat("x", i/26), `httpRoute: {match: {prefix: /, hostname: {exact: h`+strings.Repeat("y", i/60)+string(rune('a'+i%26))+strings.Repeat("z", i%60)+`.evil.example}}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}`)
	}
	add[meshv1beta2.GatewayRoute](o, 2, "bank", "own", `httpRoute: {match: {prefix: /, hostname: {exact: www.bank.example}}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}`)
	r = compiled(o)
	i := slices.IndexFunc(r.Certificates, func(c input.CertificateRequest) bool { return c.Object.Kind == "VirtualGateway" })
	if names := r.Certificates[i].DNS; len(names) > 200 || !slices.Contains(names, "www.bank.example") {
		t.Errorf("the gateway's certificate has %d names, and the gateway's own host is among them: %v", len(names), slices.Contains(names, "www.bank.example"))
	}
}

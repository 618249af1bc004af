package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
)

func TestANameBelongsToItsNamespaceWhateverTheAge(t *testing.T) {
	t.Parallel()
	const listener = "listeners: [{portMapping: {port: 80, protocol: http}}], serviceDiscovery: {dns: {hostname: x.example}}"
	for name, c := range map[string]struct {
		// claim is the awsName that an older object of namespace evil has; own is that of the bank's, empty for the default.
		kind, claim, own string
		wins             bool // the older one does
	}{
		"the default name of a node":                {"VirtualNode", "payments_bank", "", false},
		"a name that belongs to nobody":             {"VirtualNode", "payments", "payments", true},
		"a name with the form of another namespace": {"VirtualNode", "payments_nowhere", "payments_nowhere", true},
		"a name of a namespace of another mesh":     {"VirtualNode", "payments_other", "payments_other", true},
		"a host of the bank":                        {"VirtualService", "payments.bank", "", false},
		"its full name":                             {"VirtualService", "payments.bank.svc.cluster.local", "payments.bank.svc.cluster.local", false},
		"another spelling of its name":              {"VirtualService", "payments.bank.svc", "payments.bank.svc.cluster.local", false},
		"a spelling in capitals":                    {"VirtualService", "Payments.Bank", "", false},
		"a spelling with a port":                    {"VirtualService", "payments.bank:8080", "", false},
		"a spelling with a dot":                     {"VirtualService", "payments.bank.", "", false},
		"a host of nobody in other letters":         {"VirtualService", "WWW.example.com", "www.example.com", true},
		"the default name of a router":              {"VirtualRouter", "payments_bank", "", false},
		"the default name of a gateway":             {"VirtualGateway", "payments_bank", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := world()
			for second, ns := range []string{"evil", "bank"} {
				object, claim := "taker", c.claim
				if ns == "bank" {
					object, claim = "payments", c.own
				}
				spec := ""
				if claim != "" {
					spec = fmt.Sprintf("awsName: %q,", claim)
				}
				switch c.kind {
				case "VirtualNode":
					add[meshv1beta2.VirtualNode](o, second, ns, object, spec+"podSelector: {matchLabels: {app: "+object+"}},"+listener)
				case "VirtualService":
					add[meshv1beta2.VirtualService](o, second, ns, object, spec)
				case "VirtualRouter":
					add[meshv1beta2.VirtualRouter](o, second, ns, object, spec)
				case "VirtualGateway":
					add[meshv1beta2.VirtualGateway](o, second, ns, object, spec)
				case "GatewayRoute":
					add[meshv1beta2.GatewayRoute](o, second, ns, object, spec)
				}
			}
			r := compiled(o)
			evil, bank := rejected(r, c.kind, "evil", "taker"), rejected(r, c.kind, "bank", "payments")
			if evil == c.wins || bank != c.wins {
				t.Errorf("the claim from elsewhere wins: %v, want %v; problems: %+v", !evil, c.wins, r.Problems)
			}
		})
	}
}

func rejected(r *input.Result, kind, namespace, name string) bool {
	return slices.ContainsFunc(r.Problems, func(p mesh.Problem) bool {
		return p.Object == input.AppMesh(kind, namespace, name) && p.Reason == meshv1beta2.ReasonNameConflict && p.Severity == mesh.Rejected
	})
}

func TestGatewayRoutesOfTwoNamespacesMayHaveOneName(t *testing.T) {
	t.Parallel()
	o := world()
	for second, ns := range []string{"evil", "bank"} {
		add[meshv1beta2.GatewayRoute](o, second, ns, "r", "awsName: checkout")
	}
	add[meshv1beta2.GatewayRoute](o, 3, "bank", "again", "awsName: checkout")
	r := compiled(o)
	for _, name := range []string{"evil/r", "bank/r", "bank/again"} {
		ns, object, _ := strings.Cut(name, "/")
		if got, want := rejected(r, "GatewayRoute", ns, object), name == "bank/again"; got != want {
			t.Errorf("%s loses its name: %v, want %v", name, got, want)
		}
	}
}

func TestPodsKeepTheirNodeWhateverNamesOthersClaim(t *testing.T) {
	t.Parallel()
	o := world()
	add[meshv1beta2.VirtualNode](o, 1, "evil", "taker", "awsName: payments_bank, podSelector: {matchLabels: {app: taker}}")
	add[meshv1beta2.VirtualNode](o, 2, "bank", "payments", "podSelector: {matchLabels: {app: payments}}")
	id := "mesh/m/virtualNode/payments_bank"
	theirs, taker := pod(o, "bank", "p", id, "app", "payments"), pod(o, "evil", "q", id, "app", "taker")
	r := compiled(o)
	if got := r.Model.Members[theirs.UID]; got != id {
		t.Errorf("the bank's pod is of group %q", got)
	}
	if got := r.Model.Members[taker.UID]; got != "" {
		t.Errorf("the taker's pod is of group %q", got)
	}
	if w := r.Model.Workloads[0]; w.Object.Namespace != "bank" || len(r.Model.Workloads) != 1 {
		t.Errorf("served: %+v", r.Model.Workloads)
	}
	// While the bank has no such node, the name is the taker's, but not for pods of the bank.
	o = o.Replace(func(object meshv1beta2.Object) meshv1beta2.Object {
		if input.ID(object).Namespace == "bank" {
			return nil
		}
		return object
	})
	r = compiled(o)
	if got := r.Model.Members[theirs.UID]; got != "" {
		t.Errorf("without its node the bank's pod is of group %q", got)
	}
	if got := r.Model.Members[taker.UID]; got != id {
		t.Errorf("the taker's pod is of group %q", got)
	}
}

func TestANameOfANamespaceMeansNoObjectOfAnother(t *testing.T) {
	t.Parallel()
	arn := func(kind, name string) string {
		return fmt.Sprintf("%sARN: \"arn:aws:appmesh:r:1:mesh/m/%s/%s\"", kind, kind, name)
	}
	o := world()
	add[meshv1beta2.VirtualNode](o, 1, "evil", "taker", "awsName: payments_bank")
	add[meshv1beta2.VirtualRouter](o, 1, "evil", "taker", "awsName: payments_bank")
	add[meshv1beta2.VirtualService](o, 1, "evil", "taker", "awsName: ledger.bank.svc.cluster.local")
	add[meshv1beta2.VirtualService](o, 2, "bank", "a", "provider: {virtualNode: {"+arn("virtualNode", "payments_bank")+"}}")
	add[meshv1beta2.VirtualService](o, 2, "bank", "b", "provider: {virtualRouter: {"+arn("virtualRouter", "payments_bank")+"}}")
	add[meshv1beta2.VirtualService](o, 2, "evil", "own", "provider: {virtualNode: {"+arn("virtualNode", "payments_bank")+"}}")
	add[meshv1beta2.VirtualNode](o, 2, "bank", "caller", "backends: [{virtualService: {"+arn("virtualService", "ledger.bank.svc.cluster.local")+"}}]")
	add[meshv1beta2.VirtualNode](o, 2, "bank", "willing", "backends: [{virtualService: {virtualServiceRef: {namespace: evil, name: taker}}}]")
	r := compiled(o)
	for object, want := range map[mesh.Object]string{
		{Kind: "VirtualService", Namespace: "bank", Name: "a"}:    meshv1beta2.ReasonVirtualNodeNotFound,
		{Kind: "VirtualService", Namespace: "bank", Name: "b"}:    meshv1beta2.ReasonVirtualRouterNotFound,
		{Kind: "VirtualNode", Namespace: "bank", Name: "caller"}:  meshv1beta2.ReasonVirtualServiceNotFound,
		{Kind: "VirtualService", Namespace: "evil", Name: "own"}:  "",
		{Kind: "VirtualNode", Namespace: "bank", Name: "willing"}: "",
	} {
		if got := strings.Join(reasons(r, object.Kind, object.Namespace, object.Name), ","); got != want {
			t.Errorf("%s: problems %q, want %q", object, got, want)
		}
	}
	for _, w := range r.Model.Workloads {
		if want := map[string]int{"caller": 0, "willing": 1}[w.Object.Name]; len(w.Backends) != want {
			t.Errorf("%s calls %d services, want %d", w.Object, len(w.Backends), want)
		}
	}
}

func TestNoNameOfDNSIsTakenFromAnOlderClaim(t *testing.T) {
	t.Parallel()
	const (
		register = "podSelector: {matchLabels: {app: x}}, listeners: [{portMapping: {port: 80, protocol: http}}], serviceDiscovery: {awsCloudMap: {namespaceName: pay.example, serviceName: ledger}}"
		outside  = "listeners: [{portMapping: {port: 80, protocol: http}}], serviceDiscovery: {dns: {hostname: ledger.pay.example}}"
		service  = "awsName: ledger.pay.example"
	)
	for name, c := range map[string]struct {
		bank, evil func(o *input.Objects, second int, namespace string)
		late       bool // the attacker comes first
		want       string
	}{
		"a younger service against a node":           {node(register), virtual(service), false, "VirtualNode bank/x"},
		"an older service against a node":            {node(register), virtual(service), true, "VirtualService evil/x"},
		"a younger node against a node":              {node(register), node(register), false, "VirtualNode bank/x"},
		"a younger service against a service":        {virtual(service), virtual(service), false, "VirtualService bank/x"},
		"a younger node against a service":           {virtual(service), node(register), false, "VirtualService bank/x"},
		"a node that is found there, a service":      {virtual(service), node(outside), false, "VirtualService bank/x"},
		"a node that is found there, a registration": {node(register), node(outside), true, "VirtualNode bank/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := world()
			c.bank(o, 5, "bank")
			c.evil(o, map[bool]int{true: 1, false: 9}[c.late], "evil")
			got := ""
			for _, h := range compiled(o).Model.Names {
				if h.Name == "ledger.pay.example" {
					got += h.Object.String()
				}
			}
			if got != c.want {
				t.Errorf("DNS answers for %q, want %q", got, c.want)
			}
		})
	}
	o := world()
	node(outside)(o, 1, "bank")
	virtual(service+", provider: {virtualNode: {virtualNodeRef: {namespace: bank, name: x}}}")(o, 1, "evil")
	if hosts := compiled(o).Model.Names; len(hosts) != 0 {
		t.Errorf("the name of a service whose node is found there is answered: %+v", hosts)
	}
}

func node(spec string) func(*input.Objects, int, string) {
	return func(o *input.Objects, second int, namespace string) {
		add[meshv1beta2.VirtualNode](o, second, namespace, "x", spec)
	}
}

func virtual(spec string) func(*input.Objects, int, string) {
	return func(o *input.Objects, second int, namespace string) {
		add[meshv1beta2.VirtualService](o, second, namespace, "x", spec)
	}
}

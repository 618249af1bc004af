package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/lifetime"
	"github.com/aftermesh/aftermesh/pkg/xds"
)

// appmesh begins a manifest of one object of the group.
const appmesh = "apiVersion: appmesh.k8s.aws/v1beta2\nkind: "

// victims are what the bank has: a node with a certificate, a service, and a gateway that takes the bank's own routes only.
const victims = appmesh + `VirtualNode
metadata: {namespace: bank, name: payments}
spec:
  podSelector: {matchLabels: {app: payments}}
  listeners: [{portMapping: {port: 8443, protocol: http}, tls: {mode: STRICT, certificate: {acm: {certificateARN: "arn:aws:acm:eu-west-1:1:certificate/payments"}}}}]
  serviceDiscovery: {dns: {hostname: payments.bank.svc.cluster.local}}
---
` + appmesh + `VirtualService
metadata: {namespace: bank, name: payments}
spec: {awsName: payments.bank.svc.cluster.local, provider: {virtualNode: {virtualNodeRef: {name: payments}}}}
---
` + appmesh + `VirtualGateway
metadata: {namespace: bank, name: door}
spec:
  podSelector: {matchLabels: {app: door}}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank}}
  listeners: [{portMapping: {port: 8088, protocol: http}}]
`

// TestTheNamespaceIsTheBoundary: a tenant takes over nothing of another namespace: no proxy, no name, no gateway, no specification.
func TestTheNamespaceIsTheBoundary(t *testing.T) {
	w := start(t)
	w.must(t, w.Bank, victims)
	theirs := w.pod(t, w.Bank, bank, "payments-0", map[string]string{"app": "payments"}, nil)
	for _, attack := range []struct {
		name string
		run  func(*testing.T, *World, pod)
	}{
		{"by the annotations of a pod", annotations},
		{"by a name", takenNames},
		{"by renaming what is being deleted", renamed},
		{"by a reference to a gateway", reference},
		{"by a revision", revision},
		{"by a node at the callers' own address", inward},
		{"by a name of Cloud Map", instances},
		{"by a reference that keeps things from going", hostage},
	} {
		t.Run(attack.name, func(t *testing.T) { attack.run(t, w, theirs) })
	}
}

// annotations: pods write another's node, gateway and profile into their annotations, and ask for configuration and keys. They get
// nothing until the operator gives up looking for a node that selects them.
func annotations(t *testing.T, w *World, theirs pod) {
	secrets := w.secretsOf(t, theirs)
	streams := map[string]*stream{}
	for i, as := range []string{"virtualNode/payments_bank", "virtualNode/payments_bank?sds", "virtualGateway/door_bank"} {
		thief := w.pod(t, w.Evil, evil, fmt.Sprintf("thief-%d", i), map[string]string{"app": "payments"}, func(p *corev1.Pod) {
			p.Annotations = map[string]string{
				meshv1beta2.LabelInject: "disabled", meshv1beta2.AnnotationNode: "mesh/" + meshName + "/" + as, meshv1beta2.AnnotationProfile: `{"ip":"4"}`,
			}
		})
		s, err := open(t.Context(), w.dial(t, mallory), thief.Token)
		if err != nil {
			t.Fatal(err)
		}
		streams[as] = s
		if err := errors.Join(s.subscribe(xds.ClusterType), s.subscribe(xds.ListenerType), s.subscribe(xds.SecretType, secrets...)); err != nil {
			t.Fatal(err)
		}
	}
	for as, s := range streams {
		if m, err := s.Recv(); status.Code(err) != codes.NotFound {
			t.Errorf("as %s the pod was sent %s, %v", as, names(m), err)
		}
		s.end()
	}
}

// secretsOf returns the names of the certificates that the listeners of a pod use.
func (w *World) secretsOf(t *testing.T, p pod) []string {
	t.Helper()
	s, err := open(t.Context(), w.dial(t, mallory), p.Token)
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	for _, typeURL := range []string{xds.ClusterType, xds.ListenerType} {
		if err := s.subscribe(typeURL); err != nil {
			t.Fatal(err)
		}
	}
	// The listener has a certificate once the operator has issued one.
	for {
		m, err := s.next(xds.ListenerType, patience)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(acknowledge(m)); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range m.GetResources() {
			var l listenerv3.Listener
			if err := r.GetResource().UnmarshalTo(&l); err != nil {
				t.Fatal(err)
			}
			for _, found := range certificateName.FindAllStringSubmatch(protojson.Format(&l), -1) {
				out = append(out, found[1])
			}
		}
		if len(out) > 0 {
			return slices.Compact(slices.Sorted(slices.Values(out)))
		}
	}
}

func acknowledge(m *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}
}

// certificateName finds the names of certificates in a listener as JSON.
var certificateName = regexp.MustCompile(`"tlsCertificateSdsSecretConfigs":\s*\[\s*\{\s*"name":\s*"([^"]+)"`)

// condition waits until a condition of the object's current generation is as wanted.
func (w *World) condition(t *testing.T, o meshv1beta2.Object, kind string, wanted func(metav1.Condition) bool) {
	t.Helper()
	err := await(t.Context(), kind+" of "+o.GetName(), func() error {
		if err := w.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		c := meshv1beta2.FindCondition(*o.Common().Conditions, kind)
		if c == nil || c.ObservedGeneration != o.GetGeneration() || !wanted(metav1.Condition{Status: c.Status, Reason: c.Reason, Message: c.Message}) {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// refused judges the answer to an attempt.
func refused(t *testing.T, what, why string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: want a refusal with %q, got %v", what, why, err)
	}
}

// takenNames: objects of another namespace claim the bank's names, older than the bank's own.
func takenNames(t *testing.T, w *World, theirs pod) {
	for _, spec := range []string{
		"VirtualNode\nmetadata: {namespace: evil, name: taker}\nspec: {awsName: payments_bank}",
		"VirtualGateway\nmetadata: {namespace: evil, name: taker}\nspec: {awsName: door_bank, namespaceSelector: {}}",
		"VirtualService\nmetadata: {namespace: evil, name: taker}\nspec: {awsName: payments.bank}",
		"VirtualService\nmetadata: {namespace: evil, name: taker}\nspec: {awsName: PAYMENTS.bank.svc.cluster.local.}",
		"VirtualService\nmetadata: {namespace: evil, name: taker}\nspec: {awsName: 0.payments.bank.svc}",
	} {
		refused(t, spec, "belongs to namespace bank", w.Create(t.Context(), w.Evil, appmesh+spec))
	}
	// One that is older than the bank's membership in the mesh is stored, and loses to the object of the bank when that comes.
	w.label(t, bank, "")
	err := await(t.Context(), "the operator knows that the bank has left", func() error {
		return w.Create(t.Context(), w.Evil, appmesh+`VirtualNode
metadata: {namespace: evil, name: taker}
spec: {awsName: late_bank, podSelector: {matchLabels: {app: taker}}, listeners: [{portMapping: {port: 7001, protocol: http}}], serviceDiscovery: {dns: {hostname: taker.evil}}}
`)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.label(t, bank, meshName)
	err = await(t.Context(), "the operator knows that the bank is back", func() error {
		return w.Create(t.Context(), w.Bank, appmesh+`VirtualNode
metadata: {namespace: bank, name: late}
spec: {podSelector: {matchLabels: {app: late}}, listeners: [{portMapping: {port: 8444, protocol: http}}], serviceDiscovery: {dns: {hostname: late.bank}}}
`)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.condition(t, &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "taker"}}, meshv1beta2.ConditionAccepted, func(c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && c.Reason == meshv1beta2.ReasonNameConflict
	})
	late := w.pod(t, w.Bank, bank, "late-0", map[string]string{"app": "late"}, nil)
	m, err := w.fetch(t, late, xds.ClusterType)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.String(); !strings.Contains(got, "late_bank") || strings.Contains(got, "7001") || !strings.Contains(got, "8444") {
		t.Errorf("the bank's pod runs %s", names(m))
	}
}

// label makes a namespace part of a mesh, or of none.
func (w *World) label(t *testing.T, namespace, mesh string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	patch := fmt.Appendf(nil, `{"metadata": {"labels": {"mesh": %q}}}`, mesh)
	if err := w.Admin.Patch(t.Context(), ns, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
}

// renamed: an object that is being deleted, and that a finalizer of its owner holds, takes another name, mesh or router.
func renamed(t *testing.T, w *World, _ pod) {
	w.must(t, w.Evil, appmesh+"VirtualNode\nmetadata: {namespace: evil, name: going, finalizers: [evil.example/stay]}\nspec: {}\n---\n"+
		appmesh+"Route\nmetadata: {namespace: evil, name: going, finalizers: [evil.example/stay]}\n"+
		"spec: {virtualRouterRef: {name: one}, httpRoute: {match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {name: going}, weight: 1}]}}}\n")
	node := &meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "going"}}
	route := &meshv1beta2.Route{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "going"}}
	for _, o := range []client.Object{node, route} {
		if err := w.Evil.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(o client.Object, text string) error {
		return w.Evil.Patch(t.Context(), o.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, []byte(text)))
	}
	const immutable = "may not change these fields"
	refused(t, "another name", immutable, patch(node, `{"spec": {"awsName": "payments_bank"}}`))
	refused(t, "another mesh", immutable, patch(node, `{"spec": {"meshRef": {"name": "other", "uid": "x"}}}`))
	refused(t, "another router", immutable, patch(route, `{"spec": {"virtualRouterRef": {"name": "two"}}}`))
	if err := patch(node, `{"spec": {"awsName": null}}`); err != nil {
		t.Error(err)
	}
	if err := w.Admin.Get(t.Context(), client.ObjectKeyFromObject(node), node); err != nil || meshv1beta2.EffectiveName(node) != "going_evil" {
		t.Errorf("the node is named %s, %v", meshv1beta2.EffectiveName(node), err)
	}
	for _, o := range []client.Object{node, route} {
		if err := patch(o, `{"metadata": {"finalizers": null}}`); err != nil {
			t.Errorf("finalizers of %s: %v", o.GetName(), err)
		}
	}
}

// reference: a route whose own gateway is gone refers to the bank's, which does not select it.
func reference(t *testing.T, w *World, _ pod) {
	w.must(t, w.Evil, appmesh+"VirtualGateway\nmetadata: {namespace: evil, name: own}\n"+
		"spec: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: evil}}, listeners: [{portMapping: {port: 8088, protocol: http}}]}\n---\n"+
		appmesh+"VirtualService\nmetadata: {namespace: evil, name: own}\nspec: {}\n")
	const route = "GatewayRoute\nmetadata: {namespace: evil, name: %s}\nspec: {%s httpRoute: {match: {prefix: /}, action: {target: {virtualService: {virtualServiceRef: {name: own}}}}}}\n"
	err := await(t.Context(), "the operator knows the gateway", func() error { return w.Create(t.Context(), w.Evil, appmesh+fmt.Sprintf(route, "moved", "")) })
	if err != nil {
		t.Fatal(err)
	}
	var door meshv1beta2.VirtualGateway
	if err := w.Admin.Get(t.Context(), client.ObjectKey{Namespace: bank, Name: "door"}, &door); err != nil {
		t.Fatal(err)
	}
	own := &meshv1beta2.VirtualGateway{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "own"}}
	if err := w.Evil.Delete(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	err = await(t.Context(), "the gateway is gone", func() error {
		err := w.Evil.Patch(t.Context(), own.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`)))
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := fmt.Sprintf(`{namespace: bank, name: door, uid: %s}`, door.UID)
	refused(t, "a new route", "virtualGateway", w.Create(t.Context(), w.Evil, appmesh+fmt.Sprintf(route, "new", "virtualGatewayRef: "+ref+",")))
	moved := &meshv1beta2.GatewayRoute{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "moved"}}
	patch := fmt.Appendf(nil, `{"spec": {"virtualGatewayRef": {"namespace": "bank", "name": "door", "uid": %q}}}`, door.UID)
	refused(t, "another gateway", "spec.virtualGatewayRef", w.Evil.Patch(t.Context(), moved.DeepCopy(), client.RawPatch(types.MergePatchType, patch)))
	w.condition(t, moved, meshv1beta2.ConditionResolvedRefs, func(c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && c.Reason == meshv1beta2.ReasonVirtualGatewayNotDesignated
	})
}

// revision: a tenant who may write ControllerRevisions replaces the specification of an object of the bank, and of its own.
func revision(t *testing.T, w *World, _ pod) {
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "revisions"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"*"}},
		{APIGroups: []string{"aftermesh.dev"}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: evil}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
	}
	for _, o := range []client.Object{role, binding} {
		if err := w.Admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var payments meshv1beta2.VirtualNode
	if err := w.Admin.Get(t.Context(), client.ObjectKey{Namespace: bank, Name: "payments"}, &payments); err != nil {
		t.Fatal(err)
	}
	r, err := lifetime.Revision(&payments, "aftermesh-system")
	if err != nil {
		t.Fatal(err)
	}
	r.Namespace = evil
	why := "only the operator of Aftermesh may write a ControllerRevision"
	err = await(t.Context(), "the right counts", func() error {
		err := w.Evil.Create(t.Context(), r.DeepCopy())
		if err == nil || strings.Contains(err.Error(), why) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a revision of the bank's object", why, w.Evil.Create(t.Context(), r.DeepCopy()))
	plain := r.DeepCopy()
	plain.Labels = nil
	if err := w.Evil.Create(t.Context(), plain); err != nil {
		t.Fatalf("one without the label: %v", err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": r.Labels}})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "the label later", why, w.Evil.Patch(t.Context(), plain, client.RawPatch(types.MergePatchType, patch)))
}

// inward: a node is where its callers are.
func inward(t *testing.T, w *World, _ pod) {
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", `"::1"`, "169.254.169.254", "0x7f.1", `"::ffff:127.0.0.1"`, "x.localhost."} {
		refused(t, host, "is the pod of whoever calls", w.Create(t.Context(), w.Evil, appmesh+
			"VirtualNode\nmetadata: {namespace: evil, name: inward}\nspec: {listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: "+host+"}}}"))
	}
}

// instances: a node of another namespace registers its pods under a Cloud Map name that the bank's callers use. They are not called.
func instances(t *testing.T, w *World, _ pod) {
	const register = "spec: {podSelector: {matchLabels: {app: registered}}, listeners: [{portMapping: {port: 8080, protocol: http}}], " +
		"serviceDiscovery: {awsCloudMap: {serviceName: pay, namespaceName: bank.local}}}\n"
	w.must(t, w.Evil, appmesh+"VirtualNode\nmetadata: {namespace: evil, name: registered}\n"+register)
	w.must(t, w.Bank, appmesh+"VirtualNode\nmetadata: {namespace: bank, name: registered}\n"+register+"---\n"+
		appmesh+"VirtualNode\nmetadata: {namespace: bank, name: remote}\n"+strings.Replace(register, "podSelector: {matchLabels: {app: registered}}, ", "", 1)+"---\n"+
		appmesh+"VirtualService\nmetadata: {namespace: bank, name: remote}\nspec: {awsName: pay.bank.local, provider: {virtualNode: {virtualNodeRef: {name: remote}}}}\n---\n"+
		appmesh+"VirtualNode\nmetadata: {namespace: bank, name: caller}\nspec: {podSelector: {matchLabels: {app: caller}}, "+
		"listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: caller.bank}}, backends: [{virtualService: {virtualServiceRef: {name: remote}}}]}\n")
	labels := map[string]string{"app": "registered"}
	good, bad := w.pod(t, w.Bank, bank, "registered-0", labels, nil), w.pod(t, w.Evil, evil, "registered-0", labels, nil)
	caller := w.pod(t, w.Bank, bank, "caller-0", map[string]string{"app": "caller"}, nil)
	err := await(t.Context(), "the caller knows the bank's instance", func() error {
		clusters, err := w.fetch(t, caller, xds.ClusterType)
		if err != nil {
			return err
		}
		service := regexp.MustCompile(`cds_egress_[^"]*remote_bank[^"]*/[0-9a-f]+`).FindString(clusters.String())
		endpoints, err := w.fetch(t, caller, xds.EndpointType, service)
		if err != nil {
			return err
		}
		got := endpoints.String()
		if strings.Contains(got, bad.Status.PodIP) {
			t.Errorf("the caller connects to the other namespace's pod: %s", got)
		}
		if !strings.Contains(got, good.Status.PodIP) {
			return fmt.Errorf("%s has %s", service, got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// hostage: what another namespace refers to goes all the same.
func hostage(t *testing.T, w *World, _ pod) {
	const targets = "routes: [{name: x, httpRoute: {match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {namespace: bank, name: payments}, weight: 1}]}}}]"
	w.must(t, w.Evil, appmesh+"VirtualRouter\nmetadata: {namespace: evil, name: clinging}\nspec: {listeners: [{portMapping: {port: 80, protocol: http}}], "+targets+"}\n---\n"+
		appmesh+"VirtualService\nmetadata: {namespace: evil, name: clinging}\nspec: {provider: {virtualNode: {virtualNodeRef: {namespace: bank, name: payments}}}}\n")
	router := &meshv1beta2.VirtualRouter{ObjectMeta: metav1.ObjectMeta{Namespace: evil, Name: "clinging"}}
	w.condition(t, router, meshv1beta2.ConditionResolvedRefs, func(c metav1.Condition) bool { return c.Status == metav1.ConditionTrue })
	for _, o := range []client.Object{
		&meshv1beta2.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: bank, Name: "payments"}},
		&meshv1beta2.VirtualNode{ObjectMeta: metav1.ObjectMeta{Namespace: bank, Name: "payments"}},
	} {
		if err := w.Bank.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		w.gone(t, o)
	}
	w.condition(t, router, meshv1beta2.ConditionResolvedRefs, func(c metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse && c.Reason == meshv1beta2.ReasonVirtualNodeNotFound
	})
}

// gone waits until an object is.
func (w *World) gone(t *testing.T, o client.Object) {
	t.Helper()
	err := await(context.WithoutCancel(t.Context()), o.GetName()+" is gone", func() error {
		if err := w.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it has the finalizers %v: %w", o.GetFinalizers(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

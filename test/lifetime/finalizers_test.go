package lifetime

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// The kinds as they refer to each other: t → s → r → a, and g holds t.
var world = []string{
	`{kind: Mesh, metadata: {name: m}, spec: {namespaceSelector: {matchLabels: {mesh: m}}}}`,
	`{kind: VirtualNode, metadata: {name: a, namespace: ns}, spec: {podSelector: {matchLabels: {app: a}},
	  listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: a.ns.svc.cluster.local}},
	  backends: [{virtualService: {virtualServiceRef: {name: s}}}]}}`,
	`{kind: VirtualRouter, metadata: {name: r, namespace: ns}, spec: {listeners: [{portMapping: {port: 8080, protocol: http}}],
	  routes: [{name: all, httpRoute: {match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}}}]}}`,
	`{kind: VirtualService, metadata: {name: s, namespace: ns}, spec: {awsName: s.ns.svc.cluster.local, provider: {virtualRouter: {virtualRouterRef: {name: r}}}}}`,
	`{kind: VirtualGateway, metadata: {name: g, namespace: ns}, spec: {namespaceSelector: {}, podSelector: {matchLabels: {app: g}},
	  listeners: [{portMapping: {port: 8088, protocol: http}}]}}`,
	`{kind: GatewayRoute, metadata: {name: t, namespace: ns}, spec: {httpRoute: {match: {prefix: /}, action: {target: {virtualService: {virtualServiceRef: {name: s}}}}}}}`,
	`{kind: BackendGroup, metadata: {name: b, namespace: ns}, spec: {virtualservices: [{name: s}]}}`,
	`{kind: Route, metadata: {name: more, namespace: ns}, spec: {virtualRouterRef: {name: r}, httpRoute: {match: {prefix: /more}, action: {weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}}}}`,
}

var everything = []string{"Mesh/m", "VirtualNode/a", "VirtualRouter/r", "VirtualService/s", "VirtualGateway/g", "GatewayRoute/t", "BackendGroup/b", "Route/more"}

// TestLives follows objects through their lives in one cluster with one operator.
func TestLives(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	t.Run("objects get their finalizers in order", c.finalizersAdded)
	t.Run("an operator with nothing to do writes nothing", c.quiet)
	t.Run("what is in use stays, and says so", c.held)
	t.Run("a whole manifest, in its own order, is gone in seconds", c.wholeManifest)
	t.Run("any order of deletion comes to its end", c.anyOrder)
	t.Run("objects of the App Mesh controller are taken over", c.takenOver)
	t.Run("a stranger's finalizer is left alone", c.stranger)
}

// expect are the finalizers of living objects.
var expect = map[string][]string{
	"Mesh/m":           {meshv1beta2.FinalizerMeshMembers, meshv1beta2.FinalizerResources},
	"VirtualGateway/g": {meshv1beta2.FinalizerVirtualGatewayMembers, meshv1beta2.FinalizerResources},
	"VirtualNode/a":    {meshv1beta2.FinalizerResources}, "VirtualRouter/r": {meshv1beta2.FinalizerResources},
	"VirtualService/s": {meshv1beta2.FinalizerResources}, "GatewayRoute/t": {meshv1beta2.FinalizerResources},
	"BackendGroup/b": nil, "Route/more": nil,
}

func (c *cluster) finalizersAdded(t *testing.T) {
	c.create(t, world...)
	c.settled(t)
}

// settled waits until all objects have the finalizers of living ones and a status of their generation.
func (c *cluster) settled(t *testing.T) {
	t.Helper()
	c.await(t, "the objects have finalizers and statuses", func() error {
		for name, want := range expect {
			o := c.get(t, name)
			if diff := cmp.Diff(want, o.GetFinalizers()); diff != "" {
				return fmt.Errorf("%s: %s", name, diff)
			}
			if observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration"); observed != o.GetGeneration() {
				return fmt.Errorf("%s: status is of generation %d, not %d", name, observed, o.GetGeneration())
			}
		}
		return nil
	})
}

// quiet: statuses that only count are rewritten at most every 30 s, so that much must pass without any write.
func (c *cluster) quiet(t *testing.T) {
	versions := func() map[string]string {
		out := map[string]string{}
		for _, o := range c.all(t) {
			out[o.GetKind()+"/"+o.GetName()] = o.GetResourceVersion()
		}
		return out
	}
	time.Sleep(2 * time.Second)
	before := versions()
	time.Sleep(30 * time.Second)
	if diff := cmp.Diff(before, versions()); diff != "" {
		t.Errorf("resource versions moved within 30 s of idling:\n%s", diff)
	}
}

func (c *cluster) held(t *testing.T) {
	c.delete(t, "Mesh/m", "VirtualGateway/g", "VirtualService/s", "VirtualRouter/r", "VirtualNode/a")
	for _, want := range []struct{ kind, reason, reporter, words string }{
		{"Mesh", "PendingMembersDeletion", "mesh-members", "virtualNode: 1, virtualRouter: 1, virtualService: 1, virtualGateway: 1, gatewayRoute: 1"},
		{"VirtualGateway", "PendingMembersDeletion", "virtualgateway-members", "gatewayRoute: 1"},
		{"VirtualService", "PendingReferencesDeletion", "VirtualService", "GatewayRoute ns/t"},
		{"VirtualRouter", "PendingReferencesDeletion", "VirtualRouter", "VirtualService ns/s"},
		{"VirtualNode", "PendingReferencesDeletion", "VirtualNode", "VirtualRouter ns/r"},
	} {
		c.await(t, "there is an event about "+want.kind, func() error {
			var list eventsv1.EventList
			if err := c.client.List(t.Context(), &list); err != nil {
				return err
			}
			if !slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
				return e.Regarding.Kind == want.kind && e.Reason == want.reason && e.ReportingController == want.reporter &&
					e.Type == corev1.EventTypeWarning && strings.Contains(e.Note, want.words)
			}) {
				return fmt.Errorf("not among %d", len(list.Items))
			}
			return nil
		})
	}
	time.Sleep(time.Second)
	for _, name := range everything {
		if c.get(t, name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
	// The gateway route is all that holds them; the rest of the mesh follows it.
	c.delete(t, "GatewayRoute/t", "BackendGroup/b", "Route/more")
	t.Logf("everything gone %v after the last referrer", c.gone(t, everything...))
}

func (c *cluster) wholeManifest(t *testing.T) {
	c.create(t, world...)
	c.settled(t)
	c.delete(t, everything...)
	if took := c.gone(t, everything...); took > 5*time.Second {
		t.Errorf("took %v", took)
	} else {
		t.Logf("gone after %v", took)
	}
}

func (c *cluster) anyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	longest := time.Duration(0)
	for range 12 {
		c.create(t, world...)
		if r.IntN(2) == 0 {
			c.settled(t)
		}
		order := slices.Clone(everything)
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, name := range order {
			c.delete(t, name)
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		took := c.gone(t, everything...)
		longest = max(longest, took)
		if took > 5*time.Second {
			t.Errorf("%v: took %v", order, took)
		}
	}
	t.Logf("12 orders, the longest took %v", longest)
}

// takenOver stores objects as App Mesh's controller leaves them: with its finalizers and ARNs.
func (c *cluster) takenOver(t *testing.T) {
	for _, m := range world {
		o := parse(t, m)
		o.SetFinalizers(expect[o.GetKind()+"/"+o.GetName()])
		if o.GetKind() == "VirtualNode" {
			o.SetFinalizers([]string{meshv1beta2.FinalizerResources, meshv1beta2.FinalizerCloudMap})
		}
		if err := c.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == "VirtualNode" {
			c.await(t, "an ARN of AWS is stored", func() error {
				return c.client.Status().Patch(t.Context(), c.get(t, "VirtualNode/a"), client.RawPatch(types.MergePatchType,
					[]byte(`{"status":{"virtualNodeARN":"arn:aws:appmesh:eu-west-1:123456789012:mesh/m/virtualNode/a_ns"}}`)))
			})
		}
	}
	c.settled(t)
	c.await(t, "the ARN is replaced", func() error {
		if arn, _, _ := unstructured.NestedString(c.get(t, "VirtualNode/a").Object, "status", "virtualNodeARN"); !strings.HasPrefix(arn, "arn:local:") {
			return fmt.Errorf("it is %q", arn)
		}
		return nil
	})
	c.delete(t, everything...)
	c.gone(t, everything...)
}

func (c *cluster) stranger(t *testing.T) {
	c.create(t, world...)
	c.settled(t)
	c.patch(t, "VirtualNode/a", `{"metadata":{"finalizers":["example.com/theirs","`+meshv1beta2.FinalizerResources+`"]}}`)
	c.delete(t, everything...)
	c.gone(t, "VirtualRouter/r", "VirtualService/s", "GatewayRoute/t")
	c.await(t, "only the stranger's finalizer is left", func() error {
		if diff := cmp.Diff([]string{"example.com/theirs"}, c.get(t, "VirtualNode/a").GetFinalizers()); diff != "" {
			return fmt.Errorf("%s", diff)
		}
		return nil
	})
	if c.get(t, "Mesh/m") == nil {
		t.Error("the Mesh is gone before its last member")
	}
	c.patch(t, "VirtualNode/a", `{"metadata":{"finalizers":null}}`)
	c.gone(t, everything...)
}

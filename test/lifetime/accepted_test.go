package lifetime

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/lifetime"
)

// TestBadUpdate: what was accepted last is stored before the condition says so, survives a restart of the operator, and goes when
// the current specification can be served.
func TestBadUpdate(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	c.create(t, world...)
	c.settled(t)
	const bad = `{"spec":{"routes":[{"name":"all","httpRoute":{"match":{"prefix":"/"},"action":{"weightedTargets":[{"virtualNodeRef":{"name":"missing"},"weight":1}]}}}]}}`
	generation := c.get(t, "VirtualRouter/r").GetGeneration()
	c.patch(t, "VirtualRouter/r", bad)
	c.await(t, "the condition says what is served", func() error { return c.kept(t, "VirtualRouter/r", generation) })
	stored := c.revisions(t)
	if len(stored) != 1 || !strings.HasSuffix(stored[0], fmt.Sprintf("-%d", generation)) {
		t.Fatalf("revisions %v, want one of generation %d", stored, generation)
	}
	c.stop()
	c.run(t)
	before := c.get(t, "VirtualRouter/r").GetResourceVersion()
	// An operator that served the bad one would say so, and remove the revision, within a moment.
	time.Sleep(3 * time.Second)
	if err := c.kept(t, "VirtualRouter/r", generation); err != nil {
		t.Error(err)
	}
	if after := c.get(t, "VirtualRouter/r").GetResourceVersion(); after != before {
		t.Error("the operator wrote to the object after its restart, although nothing had changed")
	}
	if now := c.revisions(t); len(now) != 1 || now[0] != stored[0] {
		t.Errorf("revisions %v after the restart, want %v", now, stored)
	}
	t.Run("an update that is good at last is served", func(t *testing.T) {
		c.create(t, `{kind: VirtualNode, metadata: {name: missing, namespace: ns}, spec: {podSelector: {matchLabels: {app: x}}, listeners: [{portMapping: {port: 8080, protocol: http}}], serviceDiscovery: {dns: {hostname: x.ns.svc.cluster.local}}}}`)
		c.await(t, "the revision is gone and the status good", func() error {
			if left := c.revisions(t); len(left) > 0 {
				return fmt.Errorf("revisions %v", left)
			}
			return c.condition(t, "VirtualRouter/r", "ResolvedRefs", "True", "")
		})
	})
	t.Run("a revision goes with its object", func(t *testing.T) {
		c.patch(t, "VirtualRouter/r", strings.ReplaceAll(bad, "missing", "nowhere"))
		c.await(t, "the condition says what is served", func() error { return c.kept(t, "VirtualRouter/r", generation+1) })
		c.delete(t, "GatewayRoute/t", "VirtualService/s", "VirtualRouter/r")
		c.gone(t, "VirtualRouter/r")
		c.await(t, "the revision is gone", func() error {
			if left := c.revisions(t); len(left) > 0 {
				return fmt.Errorf("revisions %v", left)
			}
			return nil
		})
	})
}

// kept returns an error unless the status says that the generation is served in place of the current one.
func (c *cluster) kept(t *testing.T, name string, generation int64) error {
	t.Helper()
	if err := c.condition(t, name, "Programmed", "False", fmt.Sprintf("generation %d, the last accepted one", generation)); err != nil {
		return err
	}
	kind, _, _ := strings.Cut(name, "/")
	return c.condition(t, name, kind+"Active", "True", "")
}

func (c *cluster) condition(t *testing.T, name, kind, status, words string) error {
	t.Helper()
	list, _, _ := unstructured.NestedSlice(c.get(t, name).Object, "status", "conditions")
	for _, v := range list {
		if m := v.(map[string]any); m["type"] == kind {
			if m["status"] != status || !strings.Contains(fmt.Sprint(m["message"]), words) {
				return fmt.Errorf("%s of %s: %v", kind, name, m)
			}
			return nil
		}
	}
	return fmt.Errorf("%s has no condition %s", name, kind)
}

// revisions are the names of the stored specifications.
func (c *cluster) revisions(t *testing.T) []string {
	t.Helper()
	var list appsv1.ControllerRevisionList
	if err := c.client.List(t.Context(), &list, client.HasLabels{lifetime.LabelAccepted}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list.Items {
		names = append(names, r.Name)
	}
	return names
}

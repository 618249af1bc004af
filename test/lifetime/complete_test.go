package lifetime

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestStoredWithoutWebhook: objects that came in while no operator ran get what the webhook would have written.
func TestStoredWithoutWebhook(t *testing.T) {
	c := start(t)
	c.create(t, world...)
	c.create(t, `{kind: VirtualNode, metadata: {name: named, namespace: ns}, spec: {awsName: given}}`)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	// The same objects under other names, through the webhook, are the model.
	twins := map[string]string{}
	for _, m := range world {
		o := parse(t, m)
		if o.GetKind() == "Mesh" || o.GetKind() == "Route" {
			continue
		}
		old := o.GetName()
		if o.GetKind() == "VirtualGateway" {
			// A second gateway for the same routes would make the choice ambiguous.
			unstructured.RemoveNestedField(o.Object, "spec", "namespaceSelector")
		}
		if o.GetKind() == "VirtualService" {
			if err := unstructured.SetNestedField(o.Object, "twin", "spec", "awsName"); err != nil {
				t.Fatal(err)
			}
		}
		o.SetName("twin-" + old)
		twins[o.GetKind()+"/"+old] = o.GetKind() + "/" + o.GetName()
		c.await(t, "a twin is taken", func() error { return c.client.Create(t.Context(), o.DeepCopy()) })
	}
	for name, twin := range twins {
		c.await(t, name+" is complete", func() error {
			got, want := system(c.get(t, name)), system(c.get(t, twin))
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("(-webhook +written back)\n%s", diff)
			}
			return nil
		})
	}
	c.await(t, "a given name is kept and the mesh written", func() error {
		if got := system(c.get(t, "VirtualNode/named")); got["awsName"] != "given" || got["meshRef"] == nil {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	t.Run("a mesh recreated takes its members over", c.meshAnew)
}

// system are the fields that the webhook fills in, with the names of twins made equal.
func system(o *unstructured.Unstructured) map[string]any {
	out := map[string]any{}
	for _, field := range []string{"awsName", "meshRef", "virtualGatewayRef"} {
		if v, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", field); ok {
			out[field] = v
		}
	}
	if name, ok := out["awsName"].(string); ok {
		out["awsName"] = strings.TrimPrefix(name, "twin-")
	}
	if o.GetKind() == "VirtualService" {
		delete(out, "awsName")
	}
	return out
}

// meshAnew deletes the Mesh by force, as somebody does who lost patience, and makes another of the same name.
func (c *cluster) meshAnew(t *testing.T) {
	// Until the operator has put its finalizer on it, the mesh would be gone at once.
	c.await(t, "the mesh is held", func() error {
		if held := c.get(t, "Mesh/m").GetFinalizers(); len(held) == 0 {
			return errors.New("no finalizer")
		}
		return nil
	})
	c.delete(t, "Mesh/m")
	c.patch(t, "Mesh/m", `{"metadata":{"finalizers":null}}`)
	c.gone(t, "Mesh/m")
	c.create(t, world[0])
	uid := string(c.get(t, "Mesh/m").GetUID())
	c.await(t, "the members refer to the new mesh", func() error {
		for _, name := range []string{"VirtualNode/a", "VirtualService/s", "VirtualRouter/r", "VirtualGateway/g", "GatewayRoute/t", "BackendGroup/b"} {
			if got, _, _ := unstructured.NestedString(c.get(t, name).Object, "spec", "meshRef", "uid"); got != uid {
				return fmt.Errorf("%s: %q", name, got)
			}
		}
		return nil
	})
}

package lifetime

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// columns asks for a table as kubectl get does, and returns the cells of one object by the name of their column.
func (c *cluster) columns(t *testing.T, resource, name string) (map[string]any, error) {
	t.Helper()
	k, err := kubernetes.NewForConfig(c.rest)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.RESTClient().Get().AbsPath("/apis/appmesh.k8s.aws/v1beta2/"+resource).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		return nil, err
	}
	var table metav1.Table
	if err := json.Unmarshal(raw, &table); err != nil {
		return nil, err
	}
	row := slices.IndexFunc(table.Rows, func(r metav1.TableRow) bool { return r.Cells[0] == name })
	if row < 0 {
		return nil, errors.New("not in the table")
	}
	out := map[string]any{}
	for i, column := range table.ColumnDefinitions {
		out[column.Name] = table.Rows[row].Cells[i]
		if wide := column.Name == "MESSAGE"; wide != (column.Priority > 0) && column.Name != "ROUTER" {
			t.Errorf("%s: column %s has priority %d", resource, column.Name, column.Priority)
		}
	}
	return out, nil
}

// TestColumns: kubectl get shows whether an object is ready and how many proxies run it.
func TestColumns(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	c.run(t)
	c.answered(t)
	c.create(t, world...)
	c.create(t, `{kind: BackendGroup, metadata: {name: group, namespace: ns}, spec: {virtualservices: []}}`)
	c.settled(t)
	for _, want := range []struct{ resource, name, ready, programmed string }{
		{"meshes", "m", "True", ""}, {"virtualrouters", "r", "True", "0/0"}, {"virtualservices", "s", "True", "0/0"},
		{"gatewayroutes", "t", "True", "0/0"}, {"backendgroups", "group", "True", "0/0"},
	} {
		c.await(t, "the columns of "+want.resource, func() error {
			cells, err := c.columns(t, want.resource, want.name)
			if err != nil {
				return err
			}
			programmed, _ := cells["PROGRAMMED"].(string) // without a value there is none
			if cells["READY"] != want.ready || programmed != want.programmed || cells["AGE"] == nil {
				return fmt.Errorf("%s/%s: %v", want.resource, want.name, cells)
			}
			return nil
		})
	}
	c.patch(t, "VirtualRouter/r", `{"spec":{"routes":[{"name":"all","httpRoute":{"match":{"prefix":"/"},"action":{"weightedTargets":[{"virtualNodeRef":{"name":"missing"},"weight":1}]}}}]}}`)
	c.await(t, "the reason shows", func() error {
		cells, err := c.columns(t, "virtualrouters", "r")
		if err != nil {
			return err
		}
		if message, _ := cells["MESSAGE"].(string); cells["READY"] != "False" || message == "" {
			return fmt.Errorf("%v", cells)
		}
		return nil
	})
}

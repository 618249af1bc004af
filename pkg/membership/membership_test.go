package membership_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
)

func labelled(pairs ...string) *metav1.LabelSelector {
	s := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		s.MatchLabels[pairs[i]] = pairs[i+1]
	}
	return s
}

func deleted() *metav1.Time { return &metav1.Time{Time: time.Unix(1, 0)} }

func mesh(name string, s *metav1.LabelSelector) *meshv1beta2.Mesh {
	return &meshv1beta2.Mesh{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: meshv1beta2.MeshSpec{NamespaceSelector: s}}
}

func TestDesignateMesh(t *testing.T) {
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "mesh", Operator: "Maybe"}}}
	going := mesh("going", labelled("mesh", "a"))
	going.DeletionTimestamp = deleted()
	for name, c := range map[string]struct {
		meshes        []*meshv1beta2.Mesh
		want, message string
		found         int
	}{
		"the only mesh whose selector matches takes the object":       {[]*meshv1beta2.Mesh{mesh("b", labelled("mesh", "b")), mesh("a", labelled("mesh", "a"))}, "a", "", 0},
		"an empty selector matches every namespace":                   {[]*meshv1beta2.Mesh{mesh("all", labelled())}, "all", "", 0},
		"an absent selector matches no namespace":                     {[]*meshv1beta2.Mesh{mesh("none", nil)}, "", "failed to find matching mesh for namespace: ns, expecting 1 but found 0", 0},
		"two matching meshes are named":                               {[]*meshv1beta2.Mesh{mesh("z", labelled()), mesh("a", labelled("mesh", "a"))}, "", "found multiple matching meshes for namespace: ns, expecting 1 but found 2: a,z", 2},
		"a mesh that is being deleted takes nothing":                  {[]*meshv1beta2.Mesh{going}, "", "unable to create new content in mesh going because it is being terminated", 1},
		"a mesh that is being deleted still makes the choice unclear": {[]*meshv1beta2.Mesh{going, mesh("all", labelled())}, "", "found 2", 2},
		"a malformed selector of another mesh does no harm":           {[]*meshv1beta2.Mesh{mesh("broken", broken), mesh("a", labelled("mesh", "a"))}, "a", "", 0},
		"without any mesh nothing is found":                           {nil, "", "expecting 1 but found 0", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, problem := membership.DesignateMesh(c.meshes, "ns", map[string]string{"mesh": "a"})
			if c.want != "" {
				if problem != nil || got == nil || got.Name != c.want {
					t.Fatalf("got %v, %v, want %s", got, problem, c.want)
				}
				return
			}
			if got != nil || problem == nil || !strings.Contains(problem.Message, c.message) || problem.Found != c.found {
				t.Fatalf("got %v, %+v, want %q", got, problem, c.message)
			}
			if problem.Reason != meshv1beta2.ReasonMeshNotDesignated {
				t.Errorf("reason %s", problem.Reason)
			}
		})
	}
}

func TestDesignateGateway(t *testing.T) {
	gateway := func(name string, namespaces, routes *metav1.LabelSelector) *meshv1beta2.VirtualGateway {
		return &meshv1beta2.VirtualGateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "gw"},
			Spec: meshv1beta2.VirtualGatewaySpec{NamespaceSelector: namespaces, GatewayRouteSelector: routes, MeshRef: &meshv1beta2.MeshReference{Name: "m"}}}
	}
	foreign := gateway("foreign", labelled(), nil)
	foreign.Spec.MeshRef.Name = "other"
	orphan := gateway("orphan", labelled(), nil)
	orphan.Spec.MeshRef = nil
	going := gateway("going", labelled(), nil)
	going.DeletionTimestamp = deleted()
	type gateways = []*meshv1beta2.VirtualGateway
	for name, c := range map[string]struct {
		gateways      gateways
		want, message string
	}{
		"both selectors match":                           {gateways{gateway("a", labelled("ns", "x"), labelled("route", "r")), gateway("b", labelled("ns", "y"), nil)}, "a", ""},
		"an absent route selector takes every route":     {gateways{gateway("a", labelled(), nil)}, "a", ""},
		"an empty route selector takes every route":      {gateways{gateway("a", labelled(), labelled())}, "a", ""},
		"an absent namespace selector takes no route":    {gateways{gateway("a", nil, nil)}, "", "failed to find matching virtualGateway for gatewayRoute: gr, expecting 1 but found 0"},
		"labels of the route that do not match":          {gateways{gateway("a", labelled(), labelled("route", "other"))}, "", "expecting 1 but found 0"},
		"two gateways are named with their namespace":    {gateways{gateway("b", labelled(), nil), gateway("a", labelled(), nil)}, "", "expecting 1 but found 2: gw/a,gw/b"},
		"a gateway of another mesh is passed over":       {gateways{foreign, gateway("a", labelled(), nil)}, "a", ""},
		"a gateway without a mesh is passed over":        {gateways{orphan, gateway("a", labelled(), nil)}, "a", ""},
		"a gateway that is being deleted is passed":      {gateways{going, gateway("a", labelled(), nil)}, "a", ""},
		"the message names gateways that were passed by": {gateways{going, foreign}, "", "gw/foreign,gw/going would match"},
	} {
		t.Run(name, func(t *testing.T) {
			route := &meshv1beta2.GatewayRoute{ObjectMeta: metav1.ObjectMeta{Name: "gr", Namespace: "n", Labels: map[string]string{"route": "r"}}}
			got, problem := membership.DesignateGateway(c.gateways, route, map[string]string{"ns": "x"}, func(g *meshv1beta2.VirtualGateway) bool {
				return g.Spec.MeshRef != nil && g.Spec.MeshRef.Name == "m"
			})
			if c.want != "" {
				if problem != nil || got == nil || got.Name != c.want {
					t.Fatalf("got %v, %v, want %s", got, problem, c.want)
				}
				return
			}
			if got != nil || problem == nil || !strings.Contains(problem.Message, c.message) {
				t.Fatalf("got %v, %+v, want %q", got, problem, c.message)
			}
		})
	}
}

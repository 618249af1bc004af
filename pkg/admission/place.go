package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/membership"
)

// placer finds the mesh and the gateway of new objects: first in the cache, and before it denies anything, on the API server.
type placer struct{ Deps }

// mesh returns the Mesh that new objects of the namespace join.
func (p placer) mesh(ctx context.Context, namespace string) (*meshv1beta2.Mesh, error) {
	return twice(p, func(reader client.Reader) (*meshv1beta2.Mesh, error) {
		labels, err := namespaceLabels(ctx, reader, namespace)
		if err != nil {
			return nil, err
		}
		var list meshv1beta2.MeshList
		if err := reader.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list meshes: %w", err)
		}
		mesh, problem := membership.DesignateMesh(pointers(list.Items), namespace, labels)
		if problem != nil {
			return nil, denial{problem.Message}
		}
		return mesh, nil
	})
}

// gateway returns the VirtualGateway that a new GatewayRoute of the mesh is attached to. Where several select the route, the one that
// it refers to counts: no gateway can keep a route of another namespace from its own by selecting it too.
func (p placer) gateway(ctx context.Context, meta *metav1.ObjectMeta, mesh meshv1beta2.MeshReference,
	given *meshv1beta2.VirtualGatewayReference,
) (*meshv1beta2.VirtualGateway, error) {
	route := &meshv1beta2.GatewayRoute{ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Namespace: meta.Namespace, Labels: meta.Labels}}
	if route.Name == "" {
		route.Name = meta.GenerateName
	}
	return twice(p, func(reader client.Reader) (*meshv1beta2.VirtualGateway, error) {
		labels, err := namespaceLabels(ctx, reader, meta.Namespace)
		if err != nil {
			return nil, err
		}
		var list meshv1beta2.VirtualGatewayList
		if err := reader.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list virtual gateways: %w", err)
		}
		ofMesh := func(g *meshv1beta2.VirtualGateway) bool { return g.Spec.MeshRef != nil && *g.Spec.MeshRef == mesh }
		gateway, problem := membership.DesignateGateway(pointers(list.Items), route, labels, ofMesh)
		if problem != nil && problem.Found > 1 && given != nil && given.Name != "" {
			gateway, problem = membership.DesignateGateway(pointers(list.Items), route, labels, func(g *meshv1beta2.VirtualGateway) bool {
				return ofMesh(g) && g.Name == given.Name && g.Namespace == given.NamespaceOr(route.Namespace)
			})
		}
		if problem != nil {
			return nil, denial{problem.Message}
		}
		return gateway, nil
	})
}

// twice asks the cache and, if that gives no answer, the API server.
func twice[T any](p placer, ask func(client.Reader) (T, error)) (T, error) {
	answer, err := ask(p.Cache)
	if err == nil {
		return answer, nil
	}
	return ask(p.Live)
}

// namespaceLabels reads the labels of a namespace.
func namespaceLabels(ctx context.Context, reader client.Reader, name string) (map[string]string, error) {
	var namespace corev1.Namespace
	switch err := reader.Get(ctx, client.ObjectKey{Name: name}, &namespace); {
	case apierrors.IsNotFound(err):
		return nil, denial{fmt.Sprintf("namespace %s does not exist; create it first", name)}
	case err != nil:
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	return namespace.Labels, nil
}

func pointers[T any](items []T) []*T {
	list := make([]*T, len(items))
	for i := range items {
		list[i] = &items[i]
	}
	return list
}

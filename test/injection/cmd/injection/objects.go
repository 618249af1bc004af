package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/test/injection"
)

// populate creates what the cases meet, and waits until pods can be created there.
func (l *lab) populate(ctx context.Context) error {
	if err := l.label(ctx, "enabled"); err != nil {
		return err
	}
	objects, err := injection.Objects()
	if err != nil {
		return err
	}
	namespaces := []string{injection.OperatorNamespace}
	for _, o := range objects {
		if err := l.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if o.GetKind() == "Namespace" {
			namespaces = append(namespaces, o.GetName())
		}
	}
	return await(ctx, "all namespaces have a service account", func() error {
		for _, namespace := range namespaces {
			if err := l.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "default"}, &corev1.ServiceAccount{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// clear deletes these objects, if they are there, and waits until they are gone. The operator must run, because it has finalizers on them.
func (l *lab) clear(ctx context.Context) error {
	if err := l.label(ctx, nil); err != nil {
		return err
	}
	objects, err := injection.Objects()
	if err != nil {
		return err
	}
	slices.Reverse(objects)
	for _, o := range objects {
		if err := client.IgnoreNotFound(l.client.Delete(ctx, o)); err != nil {
			return fmt.Errorf("delete %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return await(ctx, "the objects of the cases are gone", func() error {
		for _, o := range objects {
			err := l.client.Get(ctx, client.ObjectKeyFromObject(o), o)
			if err == nil {
				err = errors.New("is still there")
			}
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
		return nil
	})
}

// label gives the operator's own namespace the label of injection, or takes it away with nil: that the namespace is left out nevertheless is
// one of the cases.
func (l *lab) label(ctx context.Context, value any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{meshv1beta2.LabelInject: value}}})
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{}
	namespace.Name = injection.OperatorNamespace
	return l.client.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, patch))
}

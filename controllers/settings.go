package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	"github.com/aftermesh/aftermesh/pkg/status"
)

// judgeSettings writes the conditions of MeshSettings where they are others than stored.
func (s *certificateIssuer) judgeSettings(ctx context.Context, now time.Time) error {
	var failed []error
	for _, m := range s.settings() {
		s.contain().run(func() {
			if err := s.judge(ctx, m, now); err != nil {
				failed = append(failed, err)
			}
		}, "kind", "MeshSettings", "name", m.Name)
	}
	return errors.Join(failed...)
}

func (s *certificateIssuer) judge(ctx context.Context, m *meshv1alpha1.MeshSettings, now time.Time) error {
	want := status.Settings(m, metav1.NewTime(now.Truncate(time.Second)))
	if equality.Semantic.DeepEqual(m.Status, want) {
		return nil
	}
	next := m.DeepCopy()
	next.Status = want
	if err := s.client.Status().Patch(ctx, next, client.MergeFrom(m)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write the status of MeshSettings %s: %w", m.Name, err)
	}
	return nil
}

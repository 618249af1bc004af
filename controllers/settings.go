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

	"github.com/aftermesh/aftermesh/pkg/status"
)

// judgeSettings writes the conditions of MeshSettings where they are others than stored.
func (s *signer) judgeSettings(ctx context.Context, now time.Time) error {
	var failed []error
	for _, m := range s.settings() {
		want := status.Settings(m, metav1.NewTime(now.Truncate(time.Second)))
		if equality.Semantic.DeepEqual(m.Status, want) {
			continue
		}
		next := m.DeepCopy()
		next.Status = want
		if err := s.client.Status().Patch(ctx, next, client.MergeFrom(m)); err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("write the status of MeshSettings %s: %w", m.Name, err))
		}
	}
	return errors.Join(failed...)
}

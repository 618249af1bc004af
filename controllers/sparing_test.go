package controllers

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/guard"
)

// counted is an API server that counts requests.
type counted struct {
	client.Reader
	n int
}

func (c *counted) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	c.n++
	return nil
}

func (c *counted) List(context.Context, client.ObjectList, ...client.ListOption) error {
	c.n++
	return nil
}

// TestReviewsOfOneSourceAskTheAPIServerSoOftenOnly: a flood of reviews does not become a flood of requests, and takes nothing from others.
func TestReviewsOfOneSourceAskTheAPIServerSoOftenOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &counted{}
		s := newSparing(server)
		flood, other := guard.WithSource(t.Context(), netip.MustParseAddr("192.0.2.1")), guard.WithSource(t.Context(), netip.MustParseAddr("192.0.2.2"))
		var refused error
		const seconds, perSecond = 5, 1000
		for range seconds {
			for range perSecond {
				if err := s.Get(flood, client.ObjectKey{Name: "x"}, &corev1.Namespace{}); err != nil {
					refused = err
				}
			}
			time.Sleep(time.Second)
		}
		if most := liveBurst + seconds*liveRate; server.n > most || server.n < liveBurst {
			t.Errorf("%d requests, want at most %d", server.n, most)
		}
		if !apierrors.IsTooManyRequests(refused) {
			t.Errorf("refused with %v", refused)
		}
		if err := s.List(other, &corev1.PodList{}); err != nil {
			t.Errorf("another source is refused too: %v", err)
		}
	})
}
